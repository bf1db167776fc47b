"""malformed.py PID - everything that is not a command: a precise reply, the original in the dead-letter queue, byte for
byte, and the worker's (PID's) memory flat. Run by it_malformed.sh."""
import json
import os
import sys
import uuid

import msgpack
import pika

PREFIX = os.environ["LEDGER_PREFIX"]
MSGPACK, JSON = "application/msgpack", "application/json"
GOOD = msgpack.packb({"account": "nobody", "amount": 1})
# why, type, content type, key, body, the error's word, a part of the message
CASES = [
    ("array of 2^32 elements", "deposit", MSGPACK, "k", b"\xdd\xff\xff\xff\xff", "malformed", "body"),
    ("map of 2^32 pairs", "deposit", MSGPACK, "k", b"\xdf\xff\xff\xff\xff", "malformed", "body"),
    ("string of 4 GiB", "deposit", MSGPACK, "k", b"\xdb\xff\xff\xff\xff", "malformed", "body"),
    ("bin of 4 GiB", "deposit", MSGPACK, "k", b"\xc6\xff\xff\xff\xff", "malformed", "body"),
    ("msgpack nested 10,000 deep", "deposit", MSGPACK, "k", b"\x91" * 10000 + b"\xc0", "malformed", "body"),
    ("JSON nested 10,000 deep", "deposit", JSON, "k", b"[" * 10000 + b"]" * 10000, "malformed", "body"),
    ("cut short", "deposit", MSGPACK, "k", GOOD[:-1], "malformed", "body"),
    ("bytes after the end", "deposit", MSGPACK, "k", GOOD + b"\xc0", "malformed", "body"),
    ("empty", "deposit", MSGPACK, "k", b"", "malformed", "body"),
    ("not a map", "deposit", MSGPACK, "k", b"\x01", "malformed", "body"),
    ("no JSON", "deposit", JSON, "k", b"{", "malformed", "body"),
    ("doubled key", "deposit", JSON, "k", b'{"account":"a","account":"b","amount":1}', "malformed", "account"),
    ("unknown key", "deposit", JSON, "k", b'{"account":"a","amuont":1}', "malformed", "amuont"),
    ("missing key", "deposit", JSON, "k", b'{"account":"a"}', "malformed", "amount"),
    ("float", "deposit", JSON, "k", b'{"account":"a","amount":1.5}', "malformed", "float"),
    ("not UTF-8", "deposit", MSGPACK, "k", msgpack.packb({"account": b"\xff\xfe", "amount": 1}), "malformed", "account"),
    ("wrong type", "deposit", MSGPACK, "k", msgpack.packb({"account": 5, "amount": 1}), "malformed", "account"),
    ("bad id", "deposit", JSON, "k", b'{"account":"a b","amount":1}', "malformed", "account"),
    ("too large an integer", "deposit", JSON, "k", b'{"account":"a","amount":9223372036854775808}', "malformed", "too big integer"),
    ("no such type", "depositt", MSGPACK, "k", GOOD, "unknown_type", "depositt"),
    ("no key", "deposit", MSGPACK, None, GOOD, "idempotency_key_missing", "key"),
    ("key too long", "deposit", MSGPACK, "k" * 129, GOOD, "malformed", "128"),
    ("no such encoding", "deposit", "text/plain", "k", GOOD, "malformed", "application/json"),
]
LARGE = [b"\xc6\x00\xa0\x00\x00" + bytes([i]) * (10 << 20) for i in range(5)]


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def receive(connection, channel, queue, count):
    """The next count messages of a queue, as (properties, body)."""
    got = []
    for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=20):
        if method is None:
            sys.exit(f"only {len(got)} of {count} messages came from {queue}")
        got.append((properties, body))
        if len(got) == count:
            break
    channel.cancel()
    return got


def publish(channel, replies, name, kind, content_type, key, body):
    channel.basic_publish(PREFIX + ".commands", "x", body,
                          pika.BasicProperties(type=kind, content_type=content_type, message_id=key, delivery_mode=2,
                                               reply_to=replies, correlation_id=name, headers={"mine": name}))


def check_small(connection, channel, replies):
    for why, kind, content_type, key, body, _, _ in CASES:
        publish(channel, replies, why, kind, content_type, key, body)
    answers = {p.correlation_id: (p, b) for p, b in receive(connection, channel, replies, len(CASES))}
    letters = {p.correlation_id: (p, b) for p, b in receive(connection, channel, PREFIX + ".dlq", len(CASES))}
    for why, kind, content_type, key, body, error, part in CASES:
        properties, answer = answers[why]
        reply = json.loads(answer) if properties.content_type == JSON else msgpack.unpackb(answer)
        if reply["status"] != "failed" or reply["code"] != 400 or reply["error"] != error or part not in reply["message"]:
            sys.exit(f"{why}: {reply}, expected {error} and '{part}'")
        original, letter = letters[why]
        assert letter == body, f"{why}: the dead letter's body was changed"
        assert original.type == kind and original.message_id == key and original.reply_to == replies, why
        assert original.headers["mine"] == why and original.headers["x-ledger-reason"] == error, original.headers
        assert original.headers["x-ledger-exchange"] == PREFIX + ".commands", original.headers
    print(f"{len(CASES)} malformed messages answered and dead-lettered")


def check_large(connection, channel, replies):
    for i, body in enumerate(LARGE):
        publish(channel, replies, f"large {i}", "deposit", MSGPACK, f"large-{i}", body)
    for properties, answer in receive(connection, channel, replies, len(LARGE)):
        reply = msgpack.unpackb(answer)
        assert reply["status"] == "failed" and reply["error"] == "body_too_large", reply
    for properties, body in receive(connection, channel, PREFIX + ".dlq", len(LARGE)):
        assert body == LARGE[int(properties.correlation_id.split()[1])], "the broker changed a body"
        assert properties.headers["x-death"][0]["reason"] == "rejected", properties.headers
    print(f"{len(LARGE)} bodies of 10 MiB answered, and moved by the broker")


def check_poison(channel):
    """A reply_to that makes RabbitMQ close the connection it comes on holds up nobody else for long."""
    replies = channel.queue_declare("", exclusive=True).method.queue
    publish(channel, "amq.rabbitmq.reply-to.AAAA.BBBB", "poison", "get_balance", MSGPACK, None, msgpack.packb({"account": "x"}))
    publish(channel, replies, "after it", "get_balance", MSGPACK, None, msgpack.packb({"account": "x"}))
    for method, properties, answer in channel.consume(replies, auto_ack=True, inactivity_timeout=20):
        if method is None:
            sys.exit("no reply after the poisonous one")
        if properties.correlation_id == "after it":  # others, not confirmed before it, may come again first
            break
    channel.cancel()
    assert msgpack.unpackb(answer)["error"] == "account_not_found", answer
    print("a poisonous reply_to is survived")


def main():
    pid = int(sys.argv[1])
    with pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"])) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        replies = "malformed.replies." + uuid.uuid4().hex
        channel.queue_declare(replies, exclusive=True)
        check_small(connection, channel, replies)
        before = resident_kib(pid)
        for _ in range(3):
            check_large(connection, channel, replies)
        grown = resident_kib(pid) - before
        print(f"the worker's memory grew by {grown} KiB, from {before} KiB")
        if grown > 4096:
            sys.exit("that is too much")
        check_poison(channel)


main()
