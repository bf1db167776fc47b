"""rpc.py - the ledger called from Python: msgpack and JSON, direct reply-to and a reply queue of one's own.

    LEDGER_AMQP_URL=amqp://... python3 rpc.py

Exits with 0 only when every answer is as docs/protocol.md promises.
"""
import json
import os
import sys
import uuid

import msgpack
import pika

EXCHANGE = os.environ.get("LEDGER_PREFIX", "ledger") + ".commands"
ENCODINGS = {
    "application/msgpack": (msgpack.packb, msgpack.unpackb),
    "application/json": (lambda body: json.dumps(body).encode(), json.loads),
}


class Caller:
    """Publishes one command at a time and waits for its reply."""

    def __init__(self, connection, content_type, reply_to):
        self.connection, self.content_type, self.reply_to = connection, content_type, reply_to
        self.replies = {}
        self.channel = connection.channel()
        if not reply_to.startswith("amq."):
            self.channel.queue_declare(reply_to, exclusive=True)
        self.channel.basic_consume(reply_to, self.on_reply, auto_ack=True)

    def on_reply(self, _channel, _method, properties, body):
        self.replies[properties.correlation_id] = ENCODINGS[properties.content_type][1](body)

    def ask(self, kind, key, **body):
        correlation_id = str(uuid.uuid4())
        self.channel.basic_publish(
            EXCHANGE, body["account"],  # the routing key: commands of one account keep their order
            ENCODINGS[self.content_type][0](body),
            pika.BasicProperties(type=kind, content_type=self.content_type, message_id=key, delivery_mode=2,
                                 reply_to=self.reply_to, correlation_id=correlation_id))
        self.connection.process_data_events(time_limit=10)
        for _ in range(100):
            if correlation_id in self.replies:
                return self.replies.pop(correlation_id)
            self.connection.process_data_events(time_limit=0.1)
        sys.exit(f"no reply to {kind}")


def expect(reply, **wanted):
    for name, value in wanted.items():
        if reply.get(name) != value:
            sys.exit(f"expected {name}={value!r}, got {reply}")
    return reply


def converse(ask):
    account, key = "py-" + uuid.uuid4().hex, uuid.uuid4().hex
    expect(ask("open_account", key + "-o", account=account, user_id="python", asset="EUR"), status="applied", code=201)
    first = expect(ask("deposit", key, account=account, amount=1250), status="applied", code=200)
    again = expect(ask("deposit", key, account=account, amount=1250), status="applied", replayed=True)
    expect(again, transaction=first["transaction"], balances=first["balances"])
    expect(ask("deposit", key, account=account, amount=9), status="conflict", code=409, error="idempotency_key_reused")
    expect(ask("withdraw", key + "-w", account=account, amount="12.51"), status="rejected", code=400,
           error="insufficient_funds")
    last = expect(ask("get_balance", None, account=account), status="applied")
    expect(last["balances"][0], balance=1250, available=1250, seq=1)


def main():
    with pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"])) as connection:
        for reply_to in ("amq.rabbitmq.reply-to", "py.replies." + uuid.uuid4().hex):
            for content_type in ENCODINGS:
                converse(Caller(connection, content_type, reply_to).ask)
                print(f"python: {content_type}, replies to {reply_to}: ok")
                if not reply_to.startswith("amq."):
                    reply_to += "-2"


main()
