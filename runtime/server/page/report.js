// One verdict as a page: who won, how sure, and everything that the model wrote for it.

const STATUSES = {
  ok: 'The answer was read whole, and its parts agree.',
  inconsistent: 'The answer was read whole, but its parts disagree; the written winner stands.',
  truncated: 'The token limit cut the answer before it was whole. There is no winner, and none is guessed.',
  invalid: 'The answer cannot be read by its protocol. There is no winner, and none is guessed.',
  error: 'This pair could not be judged.',
};

const chip = (status) => make('span', { class: `chip ${status in STATUSES ? status : 'invalid'}` }, status);

/** The winner of one order, in the order of the candidates: the second order showed the second candidate first. */
function winnerOf(order) {
  if (order.winner === 'tie' || !order.winner) return order.winner ?? null;
  return (order.winner === 'first') === (order.order !== 'ba') ? 'first' : 'second';
}

/** The same for a probability of who was shown first. */
const pOf = (order) => (typeof order.p_first !== 'number' ? null : order.order === 'ba' ? 1 - order.p_first : order.p_first);

function headline(verdict, names) {
  if (verdict.winner === 'first') return `${names[0]} is better`;
  if (verdict.winner === 'second') return `${names[1]} is better`;
  if (verdict.winner === 'tie') return 'Neither is better';
  return 'There is no verdict';
}

/** How probable the one is against the other, as two parts of a bar. */
function share(p, names) {
  if (typeof p !== 'number') return make('p', { class: 'soft' }, 'There is no probability: the model wrote no token that decides between the two.');
  const bar = make('div', { class: 'share', 'aria-hidden': 'true' }, styled(make('span'), 'width', `${100 * p}%`));
  return make('div', null, make('div', { class: 'ends' }, make('span', null, `${names[0]} ${number(p, 3)}`), make('span', null, `${number(1 - p, 3)} ${names[1]}`)),
    bar, make('small', null, `p(first): how probable the model holds ${names[0]} against ${names[1]}, where it writes the verdict`));
}

const FLAGS = {
  sum_not_ten: (flag, report) => `${place(report, flag)}: the two scores sum to ${flag.sum}, not to 10`,
  sum_off: (flag) => `dimension ${flag.dimension + 1}: the two scores sum to ${flag.sum}, not to ${flag.expected}`,
  category_against_scores: (flag, report) => `${place(report, flag)}: its winner has the lower scores`,
  winner_against_categories: () => 'the winner won fewer categories',
  winner_against_scores: () => 'the winner has fewer points in all',
};

function place(report, flag) {
  const category = report?.categories?.[flag.category];
  const dimension = category?.dims?.[flag.dimension];
  return [category?.name ?? `category ${flag.category + 1}`, dimension?.name].filter(Boolean).join(', ');
}

const flagged = (order) => (order.flags ?? []).map((flag) => (FLAGS[flag.kind] ? FLAGS[flag.kind](flag, order.report) : flag.kind));

/** A score as a number and a bar of ten. */
function score(value, kind, top) {
  const bar = top > 0 ? styled(make('span', { class: `bar ${kind}`, 'aria-hidden': 'true' }), 'width', `${Math.max(0, Math.min(100, (100 * value) / top))}%`) : null;
  return [make('span', { class: 'score' }, String(value)), bar];
}

/** What one order wrote, criterion by criterion. The columns are the candidates, whoever was shown first. */
function criteria(order, names) {
  const flip = order.order === 'ba';
  const sides = flip ? [2, 1] : [1, 2];
  const cell = (dim, k) => make('td', { 'data-name': names[k] }, score(dim[`score_${sides[k]}`], 'ab'[k], 10), dim[`reason_${sides[k]}`]);
  const group = (category) => [
    [make('th', { colspan: '3', scope: 'rowgroup' }, category.name, make('small', null, `${category.cat_winner}: ${category.cat_reason}`))],
    ...category.dims.map((dim) => [make('th', { scope: 'row' }, dim.name), cell(dim, 0), cell(dim, 1)]),
  ];
  const words = flip ? `Written with ${names[1]} shown first: "Image 1" is ${names[1]}, "Image 2" is ${names[0]}.` : `"Image 1" is ${names[0]}, "Image 2" is ${names[1]}.`;
  return [table(`Criteria, scores and what the model says it sees. ${words}`, ['Criterion', names[0], names[1]], order.report.categories.flatMap(group), 'report'),
    make('h3', null, 'In the model’s words'), make('p', null, order.report.reason)];
}

function scores(order, names) {
  const flip = order.order === 'ba';
  const row = (s) => [make('th', { scope: 'row' }, s.name), String(flip ? s.second : s.first), String(flip ? s.first : s.second)];
  return table('Scores', ['Score', names[0], names[1]], order.scores.map(row));
}

/** All that one order says. */
function one(order, names) {
  const flags = flagged(order);
  const problem = order.problem ? make('p', { class: 'warn' }, `${sentence(order.problem.message)} (${order.problem.name})`) : null;
  return [
    problem,
    flags.length ? [make('p', { class: 'warn' }, 'The answer contradicts itself:'), make('ul', null, flags.map((flag) => make('li', null, flag)))] : null,
    order.report ? criteria(order, names) : null,
    order.scores?.length ? scores(order, names) : null,
    fold('The whole text', make('pre', null, order.text || 'The model wrote nothing.')),
  ].flat();
}

function bothOrders(verdict, names) {
  const said = { first: names[0], second: names[1], tie: 'neither' };
  const row = (order) => [order.order === 'ba' ? `${names[1]}, ${names[0]}` : `${names[0]}, ${names[1]}`, said[winnerOf(order)] ?? 'none', number(pOf(order), 3), chip(order.status)];
  const agree = verdict.position_consistent;
  const words = agree === true ? 'Both orders name the same candidate.' : agree === false ? 'The two orders name different candidates: the place decides, not the picture.' : null;
  return [make('h3', null, 'Both orders'), table('Each order asked alone', ['Shown', 'Better', `p of ${names[0]}`, 'Status'], verdict.orders.map(row)),
    words ? make('p', { class: agree ? '' : 'warn' }, words) : null];
}

/** Who judged, how long it took, and the document itself. */
function origin(verdict) {
  const { usage, timing_ms: time, model, pack } = verdict;
  const phases = Object.entries(time ?? {}).filter(([, ms]) => ms > 0).map(([name, ms]) => `${name} ${Math.round(ms)} ms`).join(', ');
  const tokens = usage ? `${usage.prompt_tokens} tokens read (${usage.vision_tokens} of them pictures), ${usage.new_tokens} written` : '';
  const copy = make('button', { type: 'button', class: 'quiet' }, 'Copy the JSON');
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(JSON.stringify(verdict, null, 2));
      copy.textContent = 'Copied';
    } catch {
      copy.textContent = 'This browser does not allow copying here';
    }
  });
  return fold('How this was made', make('p', null, `${model.name}, ${model.precision}, pack ${pack.name} ${pack.version}. ${tokens}. ${phases}.`),
    make('p', { class: 'soft' }, `Package ${model.package_sha256}`), copy);
}

function figureOf(candidate, name, won) {
  return make('figure', { class: won ? 'won' : '' }, candidate ? preview(candidate) : null, make('figcaption', null, won ? `${name}: the winner` : name));
}

/** A whole verdict. `shown` are the candidates' files, none for answers in words. */
function verdictView(verdict, names, shown) {
  const orders = verdict.orders ?? [];
  const each = orders.length > 1
    ? orders.map((order) => make('details', { open: order === orders[0] }, make('summary', null, order.order === 'ba' ? `With ${names[1]} shown first` : `With ${names[0]} shown first`), ...one(order, names).filter(Boolean)))
    : orders.flatMap((order) => one(order, names));
  return make('div', null,
    make('div', { class: 'verdict' },
      make('p', { class: 'headline wide' }, headline(verdict, names)),
      make('p', { class: 'wide' }, chip(verdict.status), ` ${STATUSES[verdict.status] ?? ''}`),
      shown.map((candidate, k) => figureOf(candidate, names[k], verdict.winner === ['first', 'second'][k])),
      make('div', { class: 'wide' }, share(verdict.p_first, names))),
    orders.length > 1 ? bothOrders(verdict, names) : null, each, origin(verdict));
}
