// contract.mjs - asks the gateway through Prism, which holds each request and each answer to gateway/openapi.json and
// names what breaks it (the header sl-violations). Then the list of what was seen is held to the document: every
// operation, and every status that can be brought about from outside.
//   node contract.mjs LOG [unanswered]    LEDGER_GATEWAY_URL is where the gateway is
import { spawn } from "node:child_process";
import { openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";

const DOCUMENT = "../../gateway/openapi.json";
const gateway = process.env.LEDGER_GATEWAY_URL;
const [log, part] = process.argv.slice(2);
const seen = new Set();
let failures = 0;
let base = "";

const fail = (text) => {
  failures++;
  console.error(`FAILED: ${text}`);
};

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

async function startPrism(document = DOCUMENT) {
  const port = await freePort();
  const output = openSync(log, "a");
  const prism = spawn(
    "node_modules/.bin/prism",
    ["proxy", document, gateway, "--port", String(port), "--host", "127.0.0.1", "--validate-request", "false"],
    { stdio: ["ignore", output, output] },
  );
  const at = `http://127.0.0.1:${port}`;
  for (let i = 0; i < 900; i++) {
    try {
      await fetch(`${at}/health/live`);
      return { prism, at };
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error(`Prism does not listen; see ${log}`);
}

// The operation of the document that a path is about.
const paths = Object.entries(JSON.parse(readFileSync(DOCUMENT, "utf8")).paths);
const operationOf = (method, path) => {
  const at = path.split("?")[0];
  const known = paths.filter(([pattern]) => new RegExp(`^${pattern.replace(/\{\w+\}/g, "[^/]+")}$`).test(at));
  return known.map(([, item]) => item[method.toLowerCase()])[0]?.operationId ?? "none";
};

async function ask(method, path, wanted, { body, key, type = "application/json", headers = {} } = {}) {
  const all = { ...headers };
  if (key !== undefined) all["Idempotency-Key"] = key;
  if (body !== undefined) all["Content-Type"] = type;
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(base + path, { method, headers: all, body: text });
  const said = await response.text();
  const about = `${method} ${path} ${text ?? ""}`.slice(0, 200);
  if (response.status !== wanted) fail(`${about}: ${response.status}, not ${wanted}: ${said.slice(0, 300)}`);
  const violations = JSON.parse(response.headers.get("sl-violations") ?? "[]");
  for (const { location, message } of violations.filter((violation) => violation.location[0] === "response"))
    fail(`${about}: ${location.join(".")}: ${message}\n  ${said.slice(0, 300)}`);
  seen.add(`${operationOf(method, path)} ${response.status}`);
  return { json: said.startsWith("{") ? JSON.parse(said) : said, response };
}

let serial = 0;
const newKey = () => `contract-${part ?? "all"}-${++serial}`;
const write = (path, wanted, body, more = {}) => ask("POST", path, wanted, { body, key: newKey(), ...more });
const transact = (wanted, body, more) => write("/transactions", wanted, body, more);

async function accounts() {
  const ada = { account: "ada:eur", user_id: "ada", asset: "EUR", name: "Ada", metadata: { tier: "gold" } };
  const key = newKey();
  await ask("POST", "/accounts", 201, { body: ada, key });
  const again = await ask("POST", "/accounts", 201, { body: ada, key });
  if (again.response.headers.get("idempotent-replayed") !== "true") fail("a repeat is not marked");
  await write("/accounts", 201, { account: "bob:eur", user_id: "bob", asset: "EUR" });
  await write("/accounts", 201, { account: "eve:eur", user_id: "eve", asset: "EUR", dry_run: true });
  await write("/accounts", 202, { account: "z:eur", user_id: "z", asset: "EUR", not_before: "2035-01-01T00:00:00Z" });
  await write("/accounts", 400, ada);
  await write("/accounts", 404, { account: "eve:x", user_id: "eve", asset: "NONE" });
  await ask("POST", "/accounts", 409, { body: { ...ada, account: "ada:2" }, key });
  await write("/accounts", 413, { ...ada, name: "x".repeat(1100000) });
  await write("/accounts", 415, "account=eve", { type: "application/x-www-form-urlencoded" });
  await ask("POST", "/accounts", 400, { body: ada });
}

async function transactions() {
  const key = newKey();
  const deposit = { type: "deposit", account: "ada:eur", amount: "100.00", metadata: { invoice: "A-17" } };
  const first = await ask("POST", "/transactions", 200, { body: deposit, key });
  const again = await ask("POST", "/transactions", 200, { body: deposit, key });
  if (JSON.stringify(first.json) !== JSON.stringify(again.json)) fail("a repeat has another body");
  await ask("POST", "/transactions", 409, { body: { ...deposit, amount: 1 }, key });
  const transfer = (await transact(200, { type: "transfer", from: "ada:eur", to: "bob:eur", amount: 1000 })).json;
  await transact(200, { type: "withdraw", account: "ada:eur", amount: 1, asset: "EUR" });
  const hold = (await transact(200, { type: "hold", account: "ada:eur", amount: 500, expires_in: 3600 })).json;
  await transact(200, { type: "capture", hold: hold.transaction, amount: 200, to: "bob:eur", final: false });
  await transact(200, { type: "release", hold: hold.transaction });
  await transact(200, { type: "reverse", transaction: transfer.transaction });
  const later = { type: "deposit", account: "ada:eur", amount: 1, not_before: "2035-01-01T00:00:00Z" };
  const scheduled = (await transact(202, later)).json;
  await ask("GET", `/transactions/${scheduled.transaction}`, 200);
  await transact(200, { type: "cancel", transaction: scheduled.transaction });
  await transact(200, {
    type: "batch",
    commands: [
      { type: "transfer", idempotency_key: newKey(), from: "ada:eur", to: "bob:eur", amount: 1 },
      { type: "withdraw", idempotency_key: newKey(), account: "bob:eur", amount: 1 },
    ],
  });
  const tooMuch = { idempotency_key: newKey(), type: "withdraw", account: "bob:eur", amount: "999999.00" };
  const refused = (await transact(400, { type: "batch", commands: [tooMuch] })).json;
  if (refused.failed !== 0) fail(`a refused batch names no command: ${JSON.stringify(refused)}`);
  await transact(200, { type: "batch", atomic: false, commands: [{ ...tooMuch, idempotency_key: newKey() }] });
  await transact(200, { type: "deposit", account: "ada:eur", amount: 1, dry_run: true });
  await transact(400, { type: "withdraw", account: "ada:eur", amount: "1000000.00" });
  await transact(400, { type: "deposit", account: "ada:eur", amount: 1.5 });
  await transact(400, { type: "deposit", account: "ada:eur", amount: 1, typo: 1 });
  await transact(400, { type: "open_account", account: "x", user_id: "x", asset: "EUR" });
  await transact(400, { type: "set_floor", account: "ada:eur", floor: -100 });
  await transact(400, [1]);
  await transact(404, { type: "deposit", account: "nobody", amount: 1 });
  await transact(412, { type: "deposit", account: "ada:eur", amount: 1, if_seq: 999 });
  await transact(413, { type: "x".repeat(1100000) });
  await transact(415, "hello", { type: "text/plain" });
  return { transfer, hold };
}

async function reads({ transfer, hold }) {
  const id = transfer.transaction;
  await ask("GET", "/users/ada", 200);
  await ask("GET", "/users/ada/balance", 200);
  await ask("GET", `/users/ada/balance?as_of=${id}`, 200);
  await ask("GET", "/users/ada/balance?as_of=2020-01-01T00:00:00Z", 200);
  await ask("GET", "/accounts/ada:eur", 200);
  await ask("GET", "/accounts/ada:eur/balance", 200);
  await ask("GET", `/accounts/ada:eur/balance?as_of=${id}`, 200);
  const page = (await ask("GET", "/accounts/ada:eur/transactions?limit=2&order=asc", 200)).json;
  await ask("GET", `/accounts/ada:eur/transactions?limit=2&order=asc&cursor=${page.cursor}`, 200);
  await ask("GET", "/accounts/ada:eur/transactions?kind=hold", 200);
  await ask("GET", `/transactions/${id}`, 200);
  await ask("GET", `/transactions/${hold.transaction}`, 200);
  for (const path of ["/users/ada", `/transactions/${id}`]) {
    const tag = (await ask("GET", path, 200)).response.headers.get("etag");
    await ask("GET", path, 304, { headers: { "If-None-Match": tag } });
  }
  for (const path of ["/users/no", "/users/no/balance", "/accounts/no", "/accounts/no/balance", "/accounts/no/transactions"]) {
    await ask("GET", path, 404);
    await ask("GET", path.replace("no", "%20"), 400);
  }
  await ask("GET", "/transactions/019aaf11-2233-7444-8555-66778899aabd", 404);
  await ask("GET", "/transactions/x", 400);
  await ask("GET", "/accounts/ada:eur/transactions?limit=0", 400);
  await ask("GET", "/accounts/ada:eur/transactions?colour=red", 400);
  for (const path of ["/health/live", "/health/ready", "/health", "/metrics", "/openapi.json"]) await ask("GET", path, 200);
}

async function traces() {
  const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const { response } = await ask("GET", "/users/ada", 200, { headers: { traceparent: parent, "X-Trace-Id": "mine" } });
  if (!response.headers.get("traceparent").startsWith(parent.slice(0, 36))) fail("the trace is not continued");
  if (response.headers.get("x-trace-id") !== "mine") fail("X-Trace-Id does not come back");
}

// Statuses that nobody can bring about by asking.
const OUT_OF_REACH = new Set(["401", "403", "429", "500"]); // callers: it_callers.sh

function compareWithDocument() {
  for (const [path, item] of paths)
    for (const [method, operation] of Object.entries(item))
      for (const status of Object.keys(operation.responses)) {
        if (OUT_OF_REACH.has(status) || status === "503") continue;
        if (path === "/accounts" && status === "412") continue; // open_account takes no condition
        if (!seen.has(`${operation.operationId} ${status}`)) fail(`${method} ${path} was never answered ${status}`);
      }
}

async function all() {
  await accounts();
  await reads(await transactions());
  await traces();
  compareWithDocument();
  await judgeCanTell();
}

async function unanswered() {
  const deposit = { type: "deposit", account: "ada:eur", amount: 1 };
  const asked = [transact(503, deposit), write("/accounts", 503, { account: "y:eur", user_id: "y", asset: "EUR" })];
  for (const path of ["/users/ada", "/users/ada/balance", "/accounts/ada:eur", "/accounts/ada:eur/balance"])
    asked.push(ask("GET", path, 503));
  for (const { response } of await Promise.all(asked))
    if (!(Number(response.headers.get("retry-after")) > 0)) fail("503 without Retry-After");
}

// A judge who lets everything pass would be of no use: an answer that is not as another document says must be told of.
async function judgeCanTell() {
  const wrong = JSON.parse(readFileSync(DOCUMENT, "utf8"));
  wrong.components.schemas.Account.properties.scale = { type: "string" };
  const file = `${log}.wrong.json`;
  writeFileSync(file, JSON.stringify(wrong));
  const { prism, at } = await startPrism(file);
  const response = await fetch(`${at}/accounts/ada:eur`);
  if (!response.headers.get("sl-violations")?.includes("scale")) fail("Prism does not see that an answer is wrong");
  prism.kill();
}

const { prism, at } = await startPrism();
base = at;
try {
  await (part === "unanswered" ? unanswered() : all());
} catch (error) {
  fail(error.stack);
} finally {
  prism.kill();
}
console.log(`${seen.size} kinds of answers are as ${DOCUMENT} says`);
process.exit(failures > 0 || seen.size === 0 ? 1 : 0);
