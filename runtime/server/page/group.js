// A group: its pairs as they end, how probably each beats each, and the order.

/** What is known of a group while its pairs come in. */
class GroupView {
  constructor(element, candidates) {
    Object.assign(this, { element, candidates, names: candidates.map((_, i) => `${i + 1}`), pairs: new Map(), chosen: null });
    this.order = make('div');
    this.heat = make('div');
    this.pair = make('div', { 'aria-live': 'polite' });
    this.notes = make('div');
    element.replaceChildren(this.order, this.notes, make('h3', null, 'How probably the row beats the column'), this.heat, this.pair);
    this.drawHeat(null);
  }

  /** A pair that ended. */
  add(pair) {
    const key = this.key(pair.first, pair.second);
    this.pairs.set(key, [...(this.pairs.get(key) ?? []), pair]);
    this.drawHeat(null);
  }

  key(i, j) {
    return i < j ? `${i} ${j}` : `${j} ${i}`;
  }

  /** What the pairs of two say of the row against the column: their mean, as the ranking's matrix is made. */
  mean(i, j) {
    const values = (this.pairs.get(this.key(i, j)) ?? []).map((pair) => this.value(pair, i)).filter((value) => value !== null);
    return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  }

  value({ first, answer }, i) {
    if (!answer?.winner) return null;
    const p = typeof answer.p_first === 'number' ? answer.p_first : { first: 1, second: 0, tie: 0.5 }[answer.winner];
    return first === i ? p : 1 - p;
  }

  drawHeat(matrix) {
    const focused = this.heat.contains(document.activeElement) ? document.activeElement.dataset.cell : null;
    const head = ['', ...this.names.map((name) => name)];
    const rows = this.names.map((name, i) => [make('th', { scope: 'row' }, name), ...this.names.map((_, j) => make('td', null, this.cell(i, j, matrix)))]);
    this.heat.replaceChildren(table('A cell opens what the model wrote about its two candidates', head, rows, 'heat'));
    if (focused) this.heat.querySelector(`[data-cell="${focused}"]`)?.focus();
  }

  cell(i, j, matrix) {
    const pairs = this.pairs.get(this.key(i, j)) ?? [];
    if (i === j || !pairs.length) return make('span', { class: 'none soft' }, i === j ? '' : '·');
    const p = matrix ? matrix[i][j] : this.mean(i, j);
    const words = p === null ? 'no verdict' : number(p, 2);
    const button = make('button', { type: 'button', 'data-cell': `${i} ${j}`, class: p === null ? 'failed' : '',
      'aria-label': `${this.names[i]} against ${this.names[j]}: ${words}` }, p === null ? 'none' : words);
    button.addEventListener('click', () => this.open(i, j));
    return styled(button, '--p', String(p ?? 0));
  }

  /** Shows what was written about two. */
  open(i, j) {
    const [low, high] = [Math.min(i, j), Math.max(i, j)];
    const names = [this.names[low], this.names[high]];
    const asked = (this.pairs.get(this.key(i, j)) ?? []).map((pair) => this.asked(pair, low, names));
    this.pair.replaceChildren(make('h3', null, `${names[0]} and ${names[1]}`), ...asked.flat());
    this.pair.firstElementChild.scrollIntoView({ block: 'nearest' });
  }

  asked(pair, low, names) {
    const order = pair.answer ? { ...pair.answer, order: pair.first === low ? 'ab' : 'ba' } : null;
    const shown = pair.first === low ? names : [names[1], names[0]];
    if (!order) return [make('p', null, chip('error'), ` ${STATUSES.error} ${pair.error ?? ''}`)];
    const winner = { first: names[0], second: names[1], tie: 'neither' }[winnerOf(order)] ?? 'none';
    return [make('p', null, chip(order.status), ` ${shown[0]} shown first. Better: ${winner}. p of ${names[0]} ${number(pOf(order), 3)}. ${STATUSES[order.status] ?? ''}`), ...one(order, names).filter(Boolean)];
  }

  /** The ranking, when all pairs are done. */
  finish(ranking) {
    const row = (index, k) => {
      const item = ranking.items[index];
      const rate = typeof item.win_rate === 'number' ? item.win_rate : null;
      const bar = styled(make('span', { class: 'bar', 'aria-hidden': 'true' }), 'width', `${100 * (rate ?? 0)}%`);
      return make('li', null, make('strong', null, `${k + 1}.`), this.candidates[index] ? preview(this.candidates[index]) : make('span'),
        make('div', null, `${this.names[index]} ${this.candidates[index]?.name ?? ''}`, bar, make('span', { class: 'soft' }, rate === null ? 'no pair of it has a verdict' : `win rate ${number(rate, 3)}, score ${number(item.score, 3)}`)));
    };
    this.order.replaceChildren(make('h3', null, 'Best first'), make('ol', { class: 'place' }, ranking.order.map(row)));
    this.notes.replaceChildren(...this.remarks(ranking).map((text) => make('p', { class: text.warn ? 'warn' : 'soft' }, text.words)));
    this.pairs.clear();
    ranking.pairs.forEach((pair) => this.pairs.set(this.key(pair.first, pair.second), [...(this.pairs.get(this.key(pair.first, pair.second)) ?? []), pair]));
    this.drawHeat(ranking.matrix);
    this.element.append(origin(ranking));
  }

  remarks(ranking) {
    const { truncated = 0, invalid = 0, failed = 0 } = ranking.unanswered ?? {};
    const said = [{ words: `${count(ranking.pairs_run, 'pair', 'pairs')} asked.` }];
    if (ranking.pairs_failed) {
      said.push({ warn: true, words: `${count(ranking.pairs_failed, 'pair has', 'pairs have')} no verdict and ${ranking.pairs_failed === 1 ? 'counts' : 'count'} for nobody: ${truncated} truncated, ${invalid} invalid, ${failed} not run.` });
    }
    if (typeof ranking.position_consistency === 'number') {
      said.push({ words: `In ${Math.round(100 * ranking.position_consistency)} % of the pairs both orders name the same candidate.` });
    }
    return said;
  }
}
