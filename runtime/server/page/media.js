// The places that files are dropped into.

const LETTERS = ['A', 'B'];

/** A picture or a video of a file, or a word where the browser cannot show it. */
function preview(candidate) {
  const { file, url, name } = candidate;
  const shown = file.type.startsWith('video/')
    ? make('video', { src: url, controls: true, muted: true, preload: 'metadata', 'aria-label': name })
    : make('img', { src: url, alt: name });
  shown.addEventListener('error', () => shown.replaceWith(make('span', { class: 'soft' }, 'this browser cannot show the file')));
  return shown;
}

function sized(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Places for files: `most` of them at once, or one more whenever all are full. */
class Zones {
  constructor(element, { most, letter, changed }) {
    Object.assign(this, { element, most, letter, changed, candidates: new Array(most === Infinity ? 0 : most).fill(null) });
    this.draw();
  }

  /** The files that are there, in order. */
  get files() {
    return this.candidates.filter(Boolean).map((candidate) => candidate.file);
  }

  /** Puts files into a place and those after it, as far as there are any. */
  put(files, at) {
    for (const file of files) {
      let place = at ?? this.candidates.findIndex((candidate) => !candidate);
      if (place < 0 || place >= this.candidates.length) place = this.most === Infinity ? this.candidates.length : -1;
      if (place < 0) break;
      this.take(place);
      this.candidates[place] = { file, url: URL.createObjectURL(file), name: file.name || 'pasted picture' };
      at = at === undefined ? undefined : at + 1;
    }
    this.draw();
  }

  /** Empties a place. */
  take(place) {
    if (this.candidates[place]) URL.revokeObjectURL(this.candidates[place].url);
    this.candidates[place] = null;
  }

  clear() {
    this.candidates.forEach((_, place) => this.take(place));
    if (this.most === Infinity) this.candidates = [];
    this.draw();
  }

  draw() {
    if (this.most === Infinity) this.candidates = this.candidates.filter(Boolean);
    const places = this.candidates.map((candidate, place) => this.zone(candidate, place));
    if (this.most === Infinity) places.push(this.zone(null, this.candidates.length));
    this.element.replaceChildren(...places);
    this.changed();
  }

  zone(candidate, place) {
    const name = this.letter(place);
    const input = make('input', { type: 'file', accept: 'image/png,image/jpeg,image/webp,video/*,image/gif,image/apng', multiple: true,
      'aria-label': candidate ? `Replace ${name}` : `Choose a file for ${name}` });
    input.addEventListener('change', () => this.choose([...input.files], place));
    const zone = candidate ? this.full(candidate, place, name, input)
      : make('div', { class: 'zone' }, make('label', null, make('span', { class: 'letter' }, name), make('br'),
        make('span', { class: 'soft' }, 'drop a picture or a video, or choose one'), input));
    zone.addEventListener('dragover', (event) => { event.preventDefault(); zone.classList.add('over'); });
    zone.addEventListener('dragleave', () => zone.classList.remove('over'));
    zone.addEventListener('drop', (event) => { event.preventDefault(); zone.classList.remove('over'); this.choose([...event.dataTransfer.files], place); });
    return zone;
  }

  full(candidate, place, name, input) {
    const remove = make('button', { type: 'button', class: 'quiet drop', 'aria-label': `Remove ${name}` }, 'Remove');
    remove.addEventListener('click', () => { this.take(place); this.draw(); this.focus(place); });
    return make('div', { class: 'zone full' }, preview(candidate),
      make('label', null, make('span', { class: 'letter' }, name), ` ${candidate.name}, ${sized(candidate.file.size)}`, input), remove);
  }

  choose(files, place) {
    if (!files.length) return;
    this.put(files, place);
    this.focus(place);
  }

  /** The keyboard stays where it was, although the place was drawn anew. */
  focus(place) {
    const zone = this.element.children[Math.min(place, this.element.children.length - 1)];
    zone?.querySelector('input')?.focus();
  }

  swap() {
    this.candidates.reverse();
    this.draw();
  }
}
