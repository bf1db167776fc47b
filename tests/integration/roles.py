"""roles.py USER PASSWORD CASE... - tries each thing as a user of RabbitMQ's. A CASE is +ACTION:WHAT, which must work, or
-ACTION:WHAT, which must be refused with 403. Run by it_roles.sh.

Actions: publish:EXCHANGE/KEY, get:QUEUE, consume:QUEUE, declare:QUEUE, exchange:NAME, bind:QUEUE<EXCHANGE, delete:QUEUE,
purge:QUEUE, reply:EXCHANGE (publishes a query, and waits for its reply on direct reply-to)."""
import json
import os
import sys
import uuid

import pika

user, password = sys.argv[1:3]
place = pika.URLParameters(os.environ["LEDGER_AMQP_URL"])
place.credentials = pika.PlainCredentials(user, password)
connection = pika.BlockingConnection(place)


def reply(channel, exchange):
    """Asks for a balance; what it says does not matter, that it comes does."""
    answers = []
    channel.basic_consume("amq.rabbitmq.reply-to", lambda *answer: answers.append(answer[-1]), auto_ack=True)
    channel.basic_publish(exchange, "nobody", json.dumps({"account": "nobody"}).encode(), pika.BasicProperties(
        type="get_balance", content_type="application/json", reply_to="amq.rabbitmq.reply-to",
        correlation_id="1", headers={"idempotency_key": str(uuid.uuid4())}))
    connection.process_data_events(time_limit=0)
    for _ in range(100):
        if answers:
            return
        connection.process_data_events(time_limit=0.1)
    raise SystemExit(f"{user}: no reply")


def attempt(channel, action, what):
    if action == "publish":
        exchange, key = what.split("/")
        channel.confirm_delivery()
        channel.basic_publish(exchange, key, b"")
    elif action == "get":
        channel.basic_get(what)
    elif action == "consume":
        channel.basic_consume(what, lambda *_: None)
    elif action == "declare":
        channel.queue_declare(what, exclusive=True)
    elif action == "exchange":
        channel.exchange_declare(what, "topic", durable=True)
    elif action == "bind":
        channel.queue_bind(*what.split("<"), routing_key="#")
    elif action == "delete":
        channel.queue_delete(what)
    elif action == "purge":
        channel.queue_purge(what)
    elif action == "reply":
        reply(channel, what)
    else:
        raise SystemExit(f"no such action: {action}")


wrong = 0
for case in sys.argv[3:]:
    action, what = case[1:].split(":", 1)
    channel = connection.channel()
    try:
        attempt(channel, action, what)
        refused = False
        channel.close()
    except pika.exceptions.ChannelClosedByBroker as closed:
        if closed.reply_code != 403:
            raise
        refused = True
    if refused != (case[0] == "-"):
        print(f"{user}: {action} {what} was {'refused' if refused else 'allowed'}")
        wrong += 1
sys.exit(wrong > 0)
