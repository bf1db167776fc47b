// webhooks.mjs - an endpoint with moods, one for each path; every post must carry a signature that the public package
// standardwebhooks verifies. A line for each post goes to LOG: PATH ID VERDICT ACCOUNT SEQ TIME_MS, and is read again after
// a restart.
//
//   node webhooks.mjs PORT LOG SECRETS HEALED [KEY CERT]    SECRETS: lines of PATH SECRET; HEALED: a file that may appear
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { Webhook } from "standardwebhooks";

const [port, log, secrets, healed, key, cert] = process.argv.slice(2);
const tries = new Map(); // of each path and id
const told = (line) => { const [path, id] = line.split(" "); tries.set(path + id, (tries.get(path + id) ?? 0) + 1); };
if (existsSync(log)) readFileSync(log, "utf8").split("\n").filter(Boolean).forEach(told);

/** By every secret of its path that is known here: during a rotation there are two. */
function verified(path, body, headers) {
  const own = readFileSync(secrets, "utf8").split("\n").map((line) => line.split(" ")).filter(([name]) => name === path);
  return own.length > 0 && own.every(([, secret]) => {
    try { return new Webhook(secret).verify(body, headers) !== undefined; } catch { return false; }
  });
}

// [status, after how many ms, the answer's body and headers]; no status: no answer.
const moods = {
  good: () => [200],
  flaky: (_, tried) => [tried <= 2 ? 500 : 204],
  slow: () => [200, 700],
  hang: () => [],
  redirect: () => [302, 0, "", { location: `http://127.0.0.1:${port}/trap` }],
  trap: () => [200],
  big: () => [200, 0, "x".repeat(1 << 20)],
  gone: () => [410],
  dead: () => [existsSync(healed) ? 200 : 503],
  ordered: (data, tried) => [data.seq % 8 === 1 && tried <= 2 ? 500 : 200],
};

function answer(request, response, body) {
  const path = request.url.slice(1).split("?")[0];
  const ok = verified(path, body, request.headers);
  const { type, data } = ok ? JSON.parse(body) : {};
  const id = request.headers["webhook-id"];
  const [status, after = 0, text = "", headers = {}] = !ok ? [401] : moods[path](data, (tries.get(path + id) ?? 0) + 1);
  const traced = type === "webhook.test" || request.headers["x-trace-id"] === data?.trace_id;
  const verdict = !ok ? "unverified" : !traced ? "untraced" : status >= 200 && status <= 299 ? "accepted" : "refused";
  const line = [path, id, verdict, data?.account ?? "-", data?.seq ?? "-", Date.now()].join(" ");
  told(line);
  appendFileSync(log, `${line}\n`);
  if (status) setTimeout(() => { response.writeHead(status, headers); response.end(text); }, after);
}

function serve(request, response) {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => answer(request, response, Buffer.concat(pieces).toString()));
}

const server = key ? https.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, serve) : http.createServer(serve);
server.on("connection", () => { if (existsSync(`${healed}.closed`)) appendFileSync(log, "connected - - - - -\n"); });
server.listen(Number(port), "127.0.0.1", () => console.log("listening"));
