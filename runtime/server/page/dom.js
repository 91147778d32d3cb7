'use strict';
// Elements. Whatever comes from a file, a model or the server enters the page here, as text.

const find = (id) => document.getElementById(id);

/** An element with properties and children; strings become text, null is left out. */
function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name in element && typeof value !== 'string') element[name] = value;
    else if (name === 'class') element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a variable of the style sheet; the policy allows this, and no style written into the page. */
function styled(element, name, value) {
  element.style.setProperty(name, value);
  return element;
}

const number = (value, digits) => (typeof value === 'number' ? value.toFixed(digits) : '–');
/** Words as a sentence of their own. */
const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1) + (/[.?!]$/.test(words) ? '' : '.');
const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;

/** A table that scrolls within the page, and can be scrolled by keyboard. */
function table(caption, head, rows, kind) {
  const heading = make('tr', null, head.map((text) => make('th', { scope: 'col' }, text)));
  const body = rows.map((row) => make('tr', null, row.map((cell) => (cell instanceof Element && /^T[DH]$/.test(cell.tagName) ? cell : make('td', null, cell)))));
  const made = make('table', { class: kind ?? '' }, make('caption', null, caption), make('thead', null, heading), make('tbody', null, body));
  return make('div', { class: 'table', tabindex: '0', role: 'region', 'aria-label': caption }, made);
}

/** What can be opened and closed. */
const fold = (name, ...children) => make('details', null, make('summary', null, name), children);
