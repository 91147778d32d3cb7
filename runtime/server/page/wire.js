// Requests and refusals. The token stays in this variable and is gone with the page.

let token = null;

/** What the server refused a request with, or why it could not be asked. */
class Refusal extends Error {
  constructor(status, error, retry) {
    super(error.message);
    Object.assign(this, { status, code: error.code, param: error.param, request: error.request_id, retry });
  }
}

/** Sends a request; a refusal is thrown with all that the server says of it. */
async function send(path, options) {
  const headers = { ...options?.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: 'omit', redirect: 'error', cache: 'no-store' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refusal(0, { code: 'unreachable', message: 'The server does not answer. Is it running, and is the network there?' });
  }
  if (response.ok) return response;
  const retry = response.headers.get('retry-after');
  let error = null;
  try {
    error = (await response.json()).error;
  } catch {
    // What is not the server's own document comes from something between, such as a proxy.
  }
  if (typeof error !== 'object' || error === null) error = { code: 'unreadable', message: `The answer has status ${response.status} and no reason that can be read.` };
  throw new Refusal(response.status, error, retry);
}

/** A question as a form: texts as they stand, everything else as JSON, files as files. */
function question(fields, files) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, typeof value === 'string' ? value : JSON.stringify(value));
  for (const [name, list] of Object.entries(files)) list.forEach((file) => form.append(name, file, file.name || 'picture'));
  return form;
}

/** One answer. */
async function judge(path, form, signal) {
  return (await send(path, { method: 'POST', body: form, signal })).json();
}

/** An answer in lines, each told as it comes. */
async function judgeLines(path, form, signal, each) {
  const response = await send(path, { method: 'POST', body: form, signal, headers: { accept: 'application/x-ndjson' } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (value ?? '')).split('\n');
    rest = done ? '' : lines.pop();
    for (const line of lines) {
      if (line.trim()) each(checked(line));
    }
    if (done) return;
  }
}

function checked(line) {
  let document;
  try {
    document = JSON.parse(line);
  } catch {
    throw new Refusal(0, { code: 'unreadable', message: 'The answer broke off: a line of it is no JSON.' });
  }
  if (document.error) throw new Refusal(0, document.error);
  return document;
}

/** What is said of a refusal: what, where, when to come back, and the number that finds it in the server's log. */
function told(refusal) {
  const later = refusal.retry ? ` Come back in ${count(Number(refusal.retry), 'second', 'seconds')}.` : '';
  const facts = [refusal.code, refusal.status ? `status ${refusal.status}` : null, refusal.param ? `at ${refusal.param}` : null,
    refusal.request ? `request ${refusal.request}` : null].filter(Boolean);
  return [make('p', { class: 'warn' }, `There is no answer. ${sentence(refusal.message)}${later}`), make('p', { class: 'soft' }, facts.join(', '))];
}
