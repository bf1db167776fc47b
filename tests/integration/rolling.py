"""The load of it_rolling.sh: callers that wait for each reply, over AMQP and over HTTP (by the ports in the file argv[2]), until
the file argv[1] is there; then what they have seen is held against the promises. A caller gives a call up for lost after five
seconds, or when its connection breaks, and makes it again under its key."""
import http.client
import json
import os
import random
import sys
import threading
import time
import uuid

import pika

URL, PREFIX = os.environ["LEDGER_AMQP_URL"], os.environ["LEDGER_PREFIX"]
AMQP_CALLERS, HTTP_CALLERS, PATIENCE_S, LIMIT_S = 5, 2, 5.0, 1.0
stop_file, endpoints_file = sys.argv[1:]
stopping = threading.Event()
faults, calls, repeats, events = [], [], [0], []


class Caller(threading.Thread):
    def __init__(self, number):
        super().__init__()
        self.account, self.applied, self.balance, self.again = f"roll-{number}", {}, 0, 0

    def open(self):
        self.connection = pika.BlockingConnection(pika.URLParameters(URL))
        self.channel = self.connection.channel()
        self.replies = {}
        self.channel.basic_consume("amq.rabbitmq.reply-to", lambda _c, _m, properties, body: self.replies.setdefault(properties.correlation_id, json.loads(body)), auto_ack=True)

    def call(self, type_, key, body):
        """The reply, however often it takes to ask; how long that took counts from the first time."""
        begun = time.monotonic()
        while True:
            correlation = str(uuid.uuid4())
            self.channel.basic_publish(f"{PREFIX}.commands", self.account, json.dumps(body), pika.BasicProperties(
                content_type="application/json", type=type_, message_id=key, correlation_id=correlation, reply_to="amq.rabbitmq.reply-to", delivery_mode=2))
            until = time.monotonic() + PATIENCE_S
            while correlation not in self.replies and time.monotonic() < until:
                self.connection.process_data_events(time_limit=until - time.monotonic())
            if correlation in self.replies:
                calls.append(time.monotonic() - begun)
                return self.replies.pop(correlation)
            self.again += 1

    def run(self):
        try:
            self.open()
            self.call("open_account", f"{self.account}/open", {"account": self.account, "user_id": "roll", "asset": "EUR"})
            number = 0
            while not stopping.is_set():
                self.once(number)
                number += 1
            balance = self.call("get_balance", "", {"account": self.account})
            balance = balance.get("balances", [balance])[0]["balance"]
            if balance != self.balance:
                faults.append(f"{self.account} has {balance}, not {self.balance}")
            self.connection.close()
        except Exception as error:  # noqa: BLE001 - any of them fails the test
            faults.append(f"{self.account}: {error!r}")

    def once(self, number):
        key, amount = f"{self.account}/{number}", 1 + number % 97
        reply = self.call("deposit", key, {"account": self.account, "amount": amount})
        if reply["status"] != "applied":
            faults.append(f"{key}: {reply}")
        self.balance += amount
        self.applied[key] = reply["transaction"]
        if number % 5 == 4:
            reply = self.call("deposit", key, {"account": self.account, "amount": amount})
            repeats[0] += 1
            if not reply.get("replayed") or reply["transaction"] != self.applied[key]:
                faults.append(f"{key} was repeated, and the reply does not say so: {reply}")


class HttpCaller(Caller):
    """The same, through whichever gateway the Service names."""

    PATHS = {"open_account": "/accounts", "deposit": "/transactions"}

    def open(self):
        self.connection = self

    def close(self):
        pass

    def ask(self, type_, key, body):
        with open(endpoints_file, encoding="ascii") as file:
            port = random.choice(file.read().split())
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=PATIENCE_S)
        try:
            if type_ == "get_balance":
                connection.request("GET", f"/accounts/{body['account']}/balance")
            else:
                sent = {**body, "type": type_} if type_ == "deposit" else body
                connection.request("POST", self.PATHS[type_], json.dumps(sent), {"Content-Type": "application/json", "Idempotency-Key": key})
            response = connection.getresponse()
            reply = json.loads(response.read())
        finally:
            connection.close()
        if response.status == 503:
            raise ConnectionError(reply)
        if response.status >= 300:
            faults.append(f"{key}: {response.status} {reply}")
        if response.getheader("Idempotent-Replayed"):
            reply["replayed"] = True
        return reply

    def call(self, type_, key, body):
        begun = time.monotonic()
        while True:
            try:
                reply = self.ask(type_, key, body)
                calls.append(time.monotonic() - begun)
                return reply
            except (OSError, http.client.HTTPException):
                self.again += 1
                time.sleep(0.02)


class Listener(threading.Thread):
    """Of ledger.events, from before the first call on."""

    def run(self):
        connection = pika.BlockingConnection(pika.URLParameters(URL))
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, f"{PREFIX}.events", "transaction.created")
        channel.basic_consume(queue, lambda _c, _m, properties, body: events.append((properties.message_id, json.loads(body))), auto_ack=True)
        self.listens = True
        quiet = time.monotonic()
        while not stopping.is_set() or time.monotonic() - quiet < 2:
            before = len(events)
            connection.process_data_events(time_limit=0.2)
            if len(events) > before or not stopping.is_set():
                quiet = time.monotonic()
        connection.close()

    listens = False


def check_events(callers):
    seen, last = set(), {}
    for message_id, event in events:
        if message_id in seen:
            continue
        seen.add(message_id)
        account, number = event["account"], event["seq"]
        if number != last.get(account, 0) + 1:
            faults.append(f"{account}: event {number} came after {last.get(account, 0)}")
        last[account] = number
    told = {event["transaction"] for _, event in events}
    for caller in callers:
        missing = [key for key, transaction in caller.applied.items() if transaction not in told]
        if missing:
            faults.append(f"no event tells of {len(missing)}, such as {missing[0]}")


def main():
    listener = Listener()
    callers = [Caller(number) for number in range(AMQP_CALLERS)] + [HttpCaller(AMQP_CALLERS + number) for number in range(HTTP_CALLERS)]
    listener.start()
    while not listener.listens:
        time.sleep(0.05)
    for caller in callers:
        caller.start()
    print("calling", flush=True)
    while not os.path.exists(stop_file):
        time.sleep(0.1)
    stopping.set()
    for thread in [*callers, listener]:
        thread.join()
    check_events(callers)
    calls.sort()
    p50, p99 = calls[len(calls) // 2], calls[len(calls) * 99 // 100]
    print(f"{len(calls)} calls, {repeats[0]} of them repeats, {sum(caller.again for caller in callers)} made again for want of a reply; p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, "
          f"longest {calls[-1] * 1e3:.0f} ms; {len(events)} events")
    # Half of all calls taking a tenth of that means that the machine has no time for this; it is judged by its own measure then.
    limit = max(LIMIT_S, 10 * p50)
    if p99 >= limit:
        faults.append(f"p99 is {p99:.2f} s, not under {limit:.2f} s")
    if len(calls) < 200:
        faults.append("too few calls to tell")
    for fault in faults[:20]:
        print("FAULT", fault)
    sys.exit(1 if faults else 0)


main()
