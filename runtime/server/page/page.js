// The form: what is asked, and what is shown of the answer.

const form = find('ask');
const SHAPES = {
  picture: { prompt: 'Prompt that all were made for', candidates: 'Candidates', shown: null },
  edit: { prompt: 'Instruction that the edits follow', candidates: 'The edits', shown: 'The picture that was edited' },
  answer: { prompt: 'Question', candidates: 'The answers', shown: 'What the question is about' },
};

let own = 'image-pair';
let running = null;
const pairZones = new Zones(find('pair'), { most: 2, letter: (place) => LETTERS[place], changed: ready });
const groupZones = new Zones(find('group'), { most: Infinity, letter: (place) => `${place + 1}`, changed: ready });
const shownZones = new Zones(find('shown').querySelector('.zones'), { most: 1, letter: () => 'Source', changed: ready });

const isGroup = () => form.elements.view.value === 'group';
const task = () => form.elements.task.value || own;
const kind = () => (task().includes('understanding') ? 'answer' : task().startsWith('edit') ? 'edit' : 'picture');

/** Shows the fields that the view and the task need. */
function arrange() {
  const shape = SHAPES[kind()];
  const answers = kind() === 'answer';
  if (answers && isGroup()) form.elements.view.value = 'pair';
  form.querySelector('[value="group"]').disabled = answers;
  find('prompt-name').textContent = shape.prompt;
  find('candidates-name').textContent = shape.candidates;
  find('shown').hidden = !shape.shown;
  find('shown-name').textContent = shape.shown ?? '';
  find('pair').hidden = isGroup() || answers;
  find('swap').hidden = isGroup();
  find('answers').hidden = !answers;
  find('group').hidden = !isGroup();
  find('pairs').hidden = !isGroup();
  find('go').textContent = isGroup() ? 'Rank' : 'Compare';
  ready();
}

/** What is still missing, in words; empty when the question can be asked. */
function missing() {
  const { prompt, answer_a: a, answer_b: b } = form.elements;
  if (!prompt.value.trim()) return kind() === 'answer' ? 'Write the question.' : 'Write the prompt.';
  if (SHAPES[kind()].shown && !shownZones.files.length) return `Give a file: ${SHAPES[kind()].shown.toLowerCase()}.`;
  if (kind() === 'answer') return a.value.trim() && b.value.trim() ? '' : 'Write both answers.';
  if (isGroup()) return groupZones.files.length < 2 ? 'Give at least two candidates.' : '';
  return pairZones.files.length < 2 ? 'Give both candidates.' : '';
}

/** Called by the zones while they are made, before all of them are there. */
function ready() {
  if (running === null) queueMicrotask(() => { find('state').textContent = ''; });
}

function asked() {
  const elements = form.elements;
  const fields = { prompt: elements.prompt.value.trim(), both_orders: elements.both_orders.checked };
  if (elements.task.value) fields.task = elements.task.value;
  const files = SHAPES[kind()].shown ? { shown: shownZones.files } : {};
  if (isGroup()) return { fields: { ...fields, pairs: elements.pairs.value, stream: true }, files: { ...files, items: groupZones.files } };
  if (kind() === 'answer') return { fields: { ...fields, answers: [elements.answer_a.value, elements.answer_b.value] }, files };
  return { fields, files: { ...files, first: [pairZones.files[0]], second: [pairZones.files[1]] } };
}

/** Asks, tells how long it takes, and shows what came: an answer, or why there is none. */
async function go() {
  const lacks = missing();
  if (lacks) return complain(lacks);
  const { fields, files } = asked();
  running = new AbortController();
  const start = performance.now();
  let done = '';
  const tick = () => { find('state').textContent = `Judging${done}, ${Math.round((performance.now() - start) / 1e3)} s`; };
  const clock = setInterval(tick, 1000);
  busy(true);
  tick();
  try {
    if (isGroup()) await rank(question(fields, files), (words) => { done = words; tick(); });
    else await compare(question(fields, files));
    find('state').textContent = `Done in ${((performance.now() - start) / 1e3).toFixed(1)} s`;
  } catch (error) {
    failed(error);
  } finally {
    clearInterval(clock);
    running = null;
    busy(false);
  }
  return undefined;
}

async function compare(form) {
  const shown = kind() === 'answer' ? [] : pairZones.candidates.slice();
  const names = kind() === 'answer' ? ['Answer A', 'Answer B'] : LETTERS;
  const verdict = await judge('v1/compare', form, running.signal);
  show(verdictView(verdict, names, shown));
}

async function rank(form, tell) {
  const view = new GroupView(make('div'), groupZones.candidates.slice());
  let ended = false;
  show(view.element);
  await judgeLines('v1/rank', form, running.signal, ({ pair, done, most, ranking }) => {
    if (pair) {
      view.add(pair);
      Object.assign(find('progress'), { hidden: false, value: done, max: most });
      tell(`: ${done} of ${count(most, 'pair', 'pairs')}`);
    }
    if (ranking) {
      view.finish(ranking);
      ended = true;
    }
  });
  if (!ended) throw new Refusal(0, { code: 'unreadable', message: 'The answer broke off before the ranking. What came is shown below.' });
}

function show(element) {
  find('result').replaceChildren(element);
  find('answer').hidden = false;
  find('answer').focus({ preventScroll: true });
  find('answer').scrollIntoView({ block: 'start', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
}

function busy(is) {
  find('go').disabled = is;
  find('stop').hidden = !is;
  find('alert').replaceChildren();
  if (is) find('answer').hidden = true;
  find('progress').hidden = true;
}

/** `busy` empties the alert when it ends, so what is said is said after it. */
function complain(words) {
  find('alert').replaceChildren(make('p', { class: 'warn' }, words));
}

function failed(error) {
  find('state').textContent = '';
  queueMicrotask(() => {
    if (error.name === 'AbortError') find('state').textContent = 'Stopped.';
    else if (error instanceof Refusal && error.status === 401) askToken(error);
    else if (error instanceof Refusal) find('alert').replaceChildren(...told(error));
    else complain(`The page could not show the answer: ${error.message}`);
  });
}

function askToken(refusal) {
  find('token').hidden = false;
  if (token) find('alert').replaceChildren(...told(refusal));
  find('token').elements.token.focus();
}

/** Who judges here. Where a token is needed, the reader is asked for it at once. */
async function introduce() {
  try {
    const info = await (await send('info')).json();
    own = typeof info.task === 'string' ? info.task : own;
    find('model').textContent = `${info.model.name}, ${info.model.precision}, judges ${own.replaceAll('-', ' ')} unless the task says otherwise.`;
    find('token').hidden = true;
    find('alert').replaceChildren();
    arrange();
  } catch (error) {
    failed(error);
  }
}

form.addEventListener('submit', (event) => { event.preventDefault(); go(); });
form.addEventListener('change', arrange);
find('stop').addEventListener('click', () => running?.abort());
find('swap').addEventListener('click', () => {
  pairZones.swap();
  const { answer_a: a, answer_b: b } = form.elements;
  [a.value, b.value] = [b.value, a.value];
});
find('clear').addEventListener('click', () => {
  [pairZones, groupZones, shownZones].forEach((zones) => zones.clear());
  form.reset();
  find('answer').hidden = true;
  find('alert').replaceChildren();
  arrange();
  form.elements.prompt.focus();
});
find('token').addEventListener('submit', (event) => {
  event.preventDefault();
  token = find('token').elements.token.value.trim();
  find('token').elements.token.value = '';
  introduce();
});
form.elements.prompt.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
document.addEventListener('paste', (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length) (isGroup() ? groupZones : pairZones).put(files);
});
// A file that misses its place must not replace the page.
['dragover', 'drop'].forEach((name) => document.addEventListener(name, (event) => event.preventDefault()));
arrange();
introduce();
