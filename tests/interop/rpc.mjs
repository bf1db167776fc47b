// rpc.mjs - the ledger called from Node.js: msgpack and JSON, direct reply-to and a reply queue of one's own.
//
//   LEDGER_AMQP_URL=amqp://... node rpc.mjs
//
// Exits with 0 only when every answer is as docs/protocol.md promises.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { decode, encode } from "@msgpack/msgpack";
import amqp from "amqplib";

const exchange = `${process.env.LEDGER_PREFIX ?? "ledger"}.commands`;
const encodings = {
  "application/msgpack": { pack: (body) => Buffer.from(encode(body)), unpack: (bytes) => decode(bytes) },
  "application/json": { pack: (body) => Buffer.from(JSON.stringify(body)), unpack: (bytes) => JSON.parse(bytes) },
};

/** A function that publishes one command and resolves to its reply. */
async function caller(connection, contentType, direct) {
  const channel = await connection.createConfirmChannel();
  const replyTo = direct ? "amq.rabbitmq.reply-to" : (await channel.assertQueue("", { exclusive: true })).queue;
  const waiting = new Map();
  await channel.consume(replyTo, ({ properties, content }) => {
    waiting.get(properties.correlationId)?.(encodings[properties.contentType].unpack(content));
  }, { noAck: true });
  return (type, messageId, body) => new Promise((resolve, reject) => {
    const correlationId = randomUUID();
    const late = setTimeout(() => reject(new Error(`no reply to ${type} within 10 s`)), 10000);
    waiting.set(correlationId, (reply) => { clearTimeout(late); resolve(reply); });
    // The routing key is the account: commands of one account keep their order.
    channel.publish(exchange, body.account, encodings[contentType].pack(body),
      { type, contentType, messageId, replyTo, correlationId, persistent: true },
      (error) => { if (error) reject(error); });
  });
}

function expect(reply, wanted) {
  for (const [name, value] of Object.entries(wanted)) assert.deepEqual(reply[name], value, `${name} of ${JSON.stringify(reply)}`);
  return reply;
}

async function converse(ask) {
  const account = `js-${randomUUID()}`, key = randomUUID();
  expect(await ask("open_account", `${key}-o`, { account, user_id: "node", asset: "EUR" }), { status: "applied", code: 201 });
  const first = expect(await ask("deposit", key, { account, amount: 1250 }), { status: "applied", code: 200 });
  const again = expect(await ask("deposit", key, { account, amount: 1250 }), { status: "applied", replayed: true });
  expect(again, { transaction: first.transaction, balances: first.balances });
  expect(await ask("deposit", key, { account, amount: 9 }), { status: "conflict", code: 409, error: "idempotency_key_reused" });
  expect(await ask("withdraw", `${key}-w`, { account, amount: "12.51" }),
    { status: "rejected", code: 400, error: "insufficient_funds" });
  const last = expect(await ask("get_balance", undefined, { account }), { status: "applied" });
  expect(last.balances[0], { balance: 1250, available: 1250, seq: 1 });
}

const connection = await amqp.connect(process.env.LEDGER_AMQP_URL);
for (const direct of [true, false])
  for (const contentType of Object.keys(encodings)) {
    await converse(await caller(connection, contentType, direct));
    console.log(`node: ${contentType}, ${direct ? "direct reply-to" : "a reply queue"}: ok`);
  }
await connection.close();
