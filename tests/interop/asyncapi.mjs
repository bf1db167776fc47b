// Holds docs/asyncapi.yaml and docs/protocol.md to the code and to each other:
//   1. asyncapi.yaml is AsyncAPI 3 without an error or a warning;
//   2. every example of a payload or of headers fits its schema, and every message has one;
//   3. the schemas refuse what the ledger refuses: an unknown key, a missing one, a float;
//   4. commands, refusals and events are those of the headers in protocol/, in the same order;
//   5. every JSON example of protocol.md fits, and its table of refusals says what result.h says;
//   6. so do the bodies that the C encoders write (tests/fuzz/corpus, the golden ones of the unit tests).
import { readdirSync, readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
import Ajv from 'ajv';

const root = new URL('../../', import.meta.url);
const read = (path) => readFileSync(new URL(path, root), 'utf8');
const faults = [];
const fault = (text) => faults.push(text);
let checks = 0;

function same(what, got, want) {
  checks++;
  if (JSON.stringify(got) !== JSON.stringify(want)) {
    fault(`${what}\n    has  ${JSON.stringify(got)}\n    not  ${JSON.stringify(want)}`);
  }
}

// The parser adds x-parser-* to schemas; a strict validator refuses keywords that it does not know.
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  const kept = Object.entries(value).filter(([key]) => !key.startsWith('x-parser-'));
  return Object.fromEntries(kept.map(([key, item]) => [key, plain(item)]));
}

const ajv = new Ajv({
  strictTypes: false,
  allErrors: true,
  formats: {
    int64: true,
    uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
    'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
  },
});

function fits(what, validate, value) {
  checks++;
  if (!validate(value)) fault(`${what}: ${ajv.errorsText(validate.errors)}`);
}

function refused(what, validate, value) {
  checks++;
  if (validate(value)) fault(`${what} is accepted: ${JSON.stringify(value)}`);
}

async function parse() {
  const { document, diagnostics } = await new Parser().parse(read('docs/asyncapi.yaml'));
  const [error, warning] = [0, 1];
  for (const item of diagnostics.filter(({ severity }) => severity === error || severity === warning)) {
    fault(`asyncapi.yaml:${item.range.start.line + 1}: ${item.path.join('.')}: ${item.message}`);
  }
  return document;
}

// { openAccount: { name, payload: validator, headers: validator, examples }, ... }
function messagesOf(document) {
  const messages = {};
  for (const message of document.components().messages()) {
    const payload = ajv.compile(plain(message.payload()?.json() ?? true));
    const headers = ajv.compile(plain(message.headers()?.json() ?? true));
    const examples = message.examples().all();
    messages[message.id()] = { name: message.name(), payload, headers, examples };
  }
  return messages;
}

function checkExamples(messages) {
  for (const [id, { payload, headers, examples }] of Object.entries(messages)) {
    if (!examples.some((example) => example.hasPayload())) fault(`${id} has no example`);
    for (const example of examples) {
      const what = `${id}, example "${example.name()}"`;
      fits(`${what}, payload`, payload, example.payload());
      if (example.headers()) fits(`${what}, headers`, headers, example.headers());
    }
  }
}

function checkRefusals(messages, commands) {
  for (const message of Object.values(messages).filter(({ name }) => commands.includes(name))) {
    for (const example of message.examples) {
      const payload = example.payload();
      refused(`${message.name} with an unknown key`, message.payload, { ...payload, amuont: 1 });
      if ('amount' in payload) refused(`${message.name} of a float`, message.payload, { ...payload, amount: 12.5 });
      if ('metadata' in payload) continue; // an optional key: it may be missing
      const [first, ...rest] = Object.entries(payload);
      refused(`${message.name} without ${first[0]}`, message.payload, Object.fromEntries(rest));
    }
  }
}

// The rows of a table of X(...) in a header, as lists of their arguments.
function tableOf(path, name) {
  const [, body] = read(path).match(new RegExp(`#define ${name}\\(X\\)((?:.*\\\\\\n)*.*)\\n`));
  const rows = body.match(/X\(.*\)/g);
  return rows.map((row) => row.slice(2, -1).match(/"[^"]*"|[^,\s]+/g).map((word) => word.replaceAll('"', '')));
}

function checkWords(document, messages, commands, results, events) {
  const schemas = document.json().components.schemas;
  const named = (words) => Object.values(messages).map(({ name }) => name).filter((name) => words.includes(name));
  same('the schema "command"', schemas.command.enum, commands);
  same('the schema "error"', schemas.error.enum, results.map(({ word }) => word));
  same('the schema "event"', schemas.event.properties.event_type.enum, events);
  same('the routing keys of events', document.json().channels.events.parameters.eventType.enum, events);
  same('the messages of commands', named(commands), commands);
  same('the messages of events', named(events), events);
  same('the codes of refusals', schemas.refusal.allOf[1].properties.code.enum,
    [...new Set(results.map(({ code }) => code))].sort());
  same('the operations', document.operations().filterByReceive().length, commands.length);
}

function checkProtocolTable(text, results) {
  const after = text.slice(text.indexOf('<!-- results'));
  const rows = after.match(/^\| `\w+` \| \w+ \| \d+ \| .* \|$/gm);
  same('the refusals of protocol.md', rows,
    results.map(({ word, status, code, sentence }) => `| \`${word}\` | ${status} | ${code} | ${sentence} |`));
}

// A block with a status is a reply, one with an event_type an event; any other is a request of the type that
// the heading above it names.
function messageFor(messages, value, heading) {
  const byName = (name) => Object.values(messages).find((message) => message.name === name);
  if (value.event_type) return byName(value.event_type);
  if (!value.status) return byName(heading);
  if (value.status === 'scheduled') return messages.scheduled;
  if (value.error) return messages.refusal;
  if (value.results) return messages.results;
  if (value.user) return messages.user;
  if (value.account) return messages.account;
  if (value.details) return messages.transaction;
  if (value.transactions) return messages.history;
  return value.transaction ? messages.outcome : messages.balance;
}

function checkProtocolExamples(text, messages) {
  const blocks = [...text.matchAll(/^```json\n([^]*?)^```$|^#+ (\w+)/gm)];
  let heading = '';
  for (const [, block, name] of blocks) {
    if (name) heading = name;
    if (!block) continue;
    const value = JSON.parse(block);
    const message = messageFor(messages, value, heading);
    if (!message) fault(`protocol.md, ${heading}: an example of nothing`);
    else fits(`protocol.md, ${heading}`, message.payload, value);
  }
}

function checkEncoded(messages) {
  for (const folder of ['tests/fuzz/corpus/reply/', 'tests/fuzz/corpus/event/']) {
    for (const file of readdirSync(new URL(folder, root)).filter((name) => name.endsWith('.json'))) {
      const value = JSON.parse(read(folder + file));
      fits(folder + file, messageFor(messages, value, '').payload, value);
    }
  }
}

const commands = tableOf('protocol/command.h', 'COMMANDS').map(([, word]) => word);
const [, listWord] = read('protocol/event_list.h').match(/#define EVENT_LIST_WORD "([^"]*)"/);
const [, checkpointWord] = read('protocol/checkpoint.h').match(/#define CHECKPOINT_EVENT "([^"]*)"/);
const events = [...tableOf('protocol/event.h', 'EVENTS').map(([, word]) => word), listWord, checkpointWord];
const results = tableOf('protocol/result.h', 'RESULTS')
  .map(([, status, code, word, sentence]) => ({ word, status: status.toLowerCase(), code: Number(code), sentence }))
  .filter(({ status }) => status !== 'applied' && status !== 'scheduled');

const document = await parse();
if (document) {
  const messages = messagesOf(document);
  const protocol = read('docs/protocol.md');
  checkExamples(messages);
  checkRefusals(messages, commands);
  checkWords(document, messages, commands, results, events);
  checkProtocolTable(protocol, results);
  checkProtocolExamples(protocol, messages);
  checkEncoded(messages);
}
for (const text of faults) console.error(`asyncapi: ${text}`);
if (faults.length === 0) console.log(`asyncapi: ${checks} checks passed`);
process.exit(faults.length === 0 ? 0 : 1);
