"""docs.py - what the docs show is what happens. Every example of a command in docs/protocol.md is sent to a ledger, in its
order, with ids of its own for those that a reply would have told, and the reply that is printed has the status, the code
and the keys of the real one. Every ledgerctl and curl line of the README's tour is typed as it stands. Run by it_docs.sh.
"""
import datetime
import json
import os
import re
import subprocess
import sys
import uuid

import pika

EXCHANGE = os.environ["LEDGER_PREFIX"] + ".commands"
# A command of a heading whose example belongs to another: what becomes of it then.
REFUSED = {
    "expire_hold": "hold_not_due",  # the example names a hold that may still be released
    "close_account": "malformed",   # it takes no direction
}
# Lines of the tour that need a notary's signature: it_proof.sh types them.
SIGNED = ("ledgerctl proof ", "ledgerctl check-proof ")
# What the printed reply to a query holds, and so which query it was.
QUERIES = {
    "as_of": ("get_balance", {"account": "alice:eur", "as_of": "the id of a transfer"}),
    "user": ("get_user", {"user_id": "alice"}),
    "account": ("get_account", {"account": "gold:eur"}),
    "balances": ("get_balance", {"account": "alice:eur"}),
    "details": ("get_transaction", {"transaction": "the id of a transfer"}),
}


def fail(text):
    sys.exit(f"docs.py: {text}")


class Ledger:
    """Publishes a command and waits for its reply."""

    def __init__(self):
        self.connection = pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"]))
        self.channel = self.connection.channel()
        self.reply = None
        self.channel.basic_consume("amq.rabbitmq.reply-to", self.on_reply, auto_ack=True)

    def on_reply(self, _channel, _method, _properties, body):
        self.reply = json.loads(body)

    def ask(self, kind, body):
        self.reply = None
        self.channel.basic_publish(EXCHANGE, "docs", json.dumps(body), pika.BasicProperties(
            type=kind, content_type="application/json", message_id=uuid.uuid4().hex, app_id="shop", delivery_mode=2,
            reply_to="amq.rabbitmq.reply-to"))
        for _ in range(300):
            self.connection.process_data_events(time_limit=0.1)
            if self.reply is not None:
                return self.reply
        return fail(f"no reply to {kind} {body}")

    def must(self, kind, **body):
        reply = self.ask(kind, body)
        if reply["status"] != "applied":
            fail(f"{kind} {body}: {reply}")
        return reply


def set_the_stage(ledger):
    for account in ("bob:eur", "shop:eur", "fees:eur", "escrow:eur", "baker:eur", "brewer:eur", "desk:eur", "desk:usd",
                    "alice:usd", "gold:eur"):
        user, asset = account.split(":")
        ledger.must("open_account", account=account, user_id=user, asset=asset.upper(), metadata={"tier": "gold"})
    ledger.must("deposit", account="desk:usd", amount="10000.00")


def a_transfer(ledger):
    return ledger.must("transfer", **{"from": "alice:eur", "to": "bob:eur", "amount": "10.00"})["transaction"]


def a_scheduled(ledger):
    return ledger.ask("deposit", {"account": "alice:eur", "amount": 1, "not_before": later()})["transaction"]


def later():
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def prepare(ledger, kind):
    """What must have happened before an example."""
    if kind != "open_account":
        ledger.must("deposit", account="alice:eur", amount="1000.00")
    if kind == "list_transactions":
        a_transfer(ledger)
        ledger.must("hold", account="alice:eur", amount="1.00")


def with_ids(ledger, body):
    """The example, about a hold or a transaction that there is, and at a time to come."""
    if isinstance(body, list):
        return [with_ids(ledger, element) for element in body]
    if not isinstance(body, dict):
        return body
    body = {key: with_ids(ledger, value) for key, value in body.items()}
    if "hold" in body:
        body["hold"] = ledger.must("hold", account="alice:eur", amount="100.00")["transaction"]
    for key in ("transaction", "as_of"):
        if key in body:
            body[key] = a_transfer(ledger)
    for key in ("not_after", "not_before"):
        if key in body:
            body[key] = later()
    return body


def shape(value):
    """Keys, however deep, and of texts and numbers only that they are."""
    if isinstance(value, dict):
        return {key: shape(element) for key, element in value.items()}
    if isinstance(value, list):
        shapes = [shape(element) for element in value]
        return shapes if "str" not in shapes else ["str"]
    return type(value).__name__


def compare(printed, real):
    for key in ("status", "code", "error", "message"):
        if printed.get(key) != real.get(key):
            fail(f"the docs print {printed}, the ledger says {real}")
    if shape(printed) != shape(real):
        fail(f"the docs print {shape(printed)}, the ledger says {shape(real)}")


def ask_query(ledger, printed):
    kind, body = next((query for key, query in QUERIES.items() if key in printed), ("", {}))
    if not kind:
        fail(f"no query is known that is answered {printed}")
    compare(printed, ledger.ask(kind, with_ids(ledger, body)))


def run_protocol(ledger):
    text = open("docs/protocol.md", encoding="utf-8").read()
    known = set(re.findall(r"^### ([a-z_, ]+)$", text, re.M))
    part, kinds, reply, examples = "", [], None, 0
    for token in re.finditer(r"^(##+) ([^\n]*)$|^```json\n(.*?)^```$", text, re.M | re.S):
        if token.group(1):
            part = token.group(2) if token.group(1) == "##" else part
            kinds = token.group(2).split(", ") if token.group(2) in known else []
            reply = None
            continue
        if part not in ("Commands", "Queries"):
            continue
        example = json.loads(token.group(3))
        examples += 1
        if "status" in example and reply is None:
            ask_query(ledger, example)
            continue
        if "status" in example:
            compare(example, reply)
            continue
        if not kinds:
            fail(f"under which command's heading is {example}?")
        reply = None
        for kind in kinds:
            prepare(ledger, kind)
            body = with_ids(ledger, example)
            if kind == "cancel":
                body["transaction"] = a_scheduled(ledger)
            said = ledger.ask(kind, body)
            if said.get("error") != REFUSED.get(kind):
                fail(f"{kind} {example}: {said}")
            reply = reply or said  # the one that is printed is that of the first
    if examples < 20:
        fail(f"only {examples} examples were found")
    print(f"{examples} examples of docs/protocol.md are true")


# --- the tour of the README ---


def run_line(line):
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)


def at_this_time(line):
    """The times in it as if it were typed now: from ten days ago, to ten days from now, or now."""
    def instead(match):
        days = {"--from": -10, "--to": 10, "--not-before": 10}.get(match.group(1), 0)
        time = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
        return match.group(1) + time.strftime(" %Y-%m-%dT%H:%M:%S.%fZ")
    return re.sub(r"(--[a-z-]+) \d{4}-\d\d-\d\dT[0-9:.]+Z", instead, line)


def check_line(line, printed, done):
    """What is printed below the line, up to an ellipsis, is what the command says: its words, and of JSON the keys."""
    said = done.stdout + done.stderr
    refused = "rejected" in printed or "--dry-run" in line
    if done.returncode != 0 and not (refused and done.returncode == 1):
        fail(f"$ {line}\nended with {done.returncode}: {said}")
    if printed.startswith("{"):
        if shape(json.loads(printed.replace("\n", ""))) != shape(json.loads(done.stdout)):
            fail(f"$ {line}\nprints {done.stdout}")
        return
    for row in printed.split("\n"):
        words = re.match(r"(status|error) +(.*)", row)
        if words and not re.search(rf"^{words.group(1)} +{re.escape(words.group(2))}$", said, re.M):
            fail(f"$ {line}\nprints no '{row}' but {said}")
        label = re.match(r"[a-zA-Z]+", row)
        if label and label.group() not in said:
            fail(f"$ {line}\nprints nothing like '{row}' but {said}")


def run_tour():
    tour = open("README.md", encoding="utf-8").read().split("## Five-minute tour")[1].split("\n## ")[0]
    typed, hold = 0, ""
    for block in re.findall(r"^```\n(.*?)^```$", tour, re.M | re.S):
        for line, printed in re.findall(r"^\$ (.*<<'END'\n(?:.*\n)*?END|.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            if not line.startswith(("ledgerctl ", "curl ")) or line.startswith(SIGNED):
                continue
            done = run_line(re.sub(r"[0-9a-f]{8}-\.\.\.", hold, at_this_time(line)))
            check_line(line, printed.split("\n...")[0].rstrip("\n"), done)
            told = re.search(r"^transaction +(\S+)", done.stdout, re.M)
            hold = told.group(1) if told else hold
            typed += 1
    if typed < 15:
        fail(f"only {typed} lines were found in the tour")
    print(f"{typed} lines of the README's tour do what it says")


def main():
    ledger = Ledger()
    set_the_stage(ledger)
    run_protocol(ledger)
    ledger.connection.close()
    run_tour()


main()
