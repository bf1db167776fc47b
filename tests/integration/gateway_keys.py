"""gateway_keys.py - many clients repeat few keys over HTTP while somebody restarts what is behind the gateway. Ends when each key
has its answer, then holds all answers against each other and against the journal.

  gateway_keys.py CLIENTS KEYS SECONDS    LEDGER_GATEWAY_URL; psql and LEDGER_DATABASE_URL for the journal
"""
import collections
import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.parse

CLIENTS, KEYS, SECONDS = (int(word) for word in sys.argv[1:4])
ADDRESS = urllib.parse.urlsplit(os.environ["LEDGER_GATEWAY_URL"]).netloc
ACCOUNTS = 8
PATIENCE_S = 120

lock = threading.Lock()
answers = collections.defaultdict(set)  # key: {(status, body)}, of what decides
first = collections.Counter()  # key: how often it was answered and not marked as a repeat
counts = collections.Counter()
until = time.monotonic() + SECONDS


def command_of(number):
    """The same for the same key: some refused (the account never has that much), some of what is not there."""
    account = f"k{number % ACCOUNTS}"
    kind = number % 5
    if kind == 0:
        return {"type": "withdraw", "account": account, "amount": "1000000.00"}
    if kind == 1:
        return {"type": "deposit", "account": "nobody", "amount": 1}
    if kind == 2:
        return {"type": "transfer", "from": account, "to": f"k{(number + 1) % ACCOUNTS}", "amount": 1}
    return {"type": "deposit", "account": account, "amount": 1 + number % 7}


def post(connection, path, key, body):
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", "Idempotency-Key": key})
    response = connection.getresponse()
    return response.status, response.read(), response.headers


def ask(connection, number):
    """True when the key is decided. A lost connection, 503, or a key in progress says nothing: ask again."""
    key = f"key-{number}"
    try:
        status, body, headers = post(connection, "/transactions", key, command_of(number))
    except (OSError, http.client.HTTPException):
        connection.close()
        counts["lost"] += 1
        return False
    if status == 503:
        if "Retry-After" not in headers:
            sys.exit(f"503 without Retry-After: {body}")
        counts["503"] += 1
        time.sleep(0.2)
        return False
    if status == 409 and b"in_progress" in body:
        return False
    with lock:
        counts["answered"] += 1
        answers[key].add((status, body))
        first[key] += headers.get("Idempotent-Replayed") != "true"
    return True


def client(numbers):
    connection = http.client.HTTPConnection(ADDRESS, timeout=20)
    while time.monotonic() < until:
        ask(connection, random.randrange(KEYS))
    for number in numbers:  # its share of all keys, to the end
        while not ask(connection, number):
            if time.monotonic() > until + PATIENCE_S:
                sys.exit(f"key {number} has no answer {PATIENCE_S} s after the last fault")
    connection.close()


def journal():
    query = "SELECT key, count(*), min(coalesce(result, '')), min(id::text) FROM ledger.journal WHERE key LIKE 'key-%' GROUP BY key"
    said = subprocess.run(["psql", "-X", "-qAt", "-F", "\t", os.environ["LEDGER_DATABASE_URL"], "-c", query],
                          capture_output=True, text=True, check=True).stdout
    return {row[0]: row[1:] for row in (line.split("\t") for line in said.splitlines())}


def main():
    opener = http.client.HTTPConnection(ADDRESS, timeout=20)
    for i in range(ACCOUNTS):
        status, body, _ = post(opener, "/accounts", f"open-{i}", {"account": f"k{i}", "user_id": "k", "asset": "EUR"})
        if status != 201:
            sys.exit(f"could not open an account: {body}")
    for i in range(ACCOUNTS):
        post(opener, "/transactions", f"first-{i}", {"type": "deposit", "account": f"k{i}", "amount": "100.00"})
    print("begun", flush=True)
    threads = [threading.Thread(target=client, args=(range(i, KEYS, CLIENTS),), daemon=True) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + PATIENCE_S + 30)
    wrong = []
    rows = journal()
    for number in range(KEYS):
        key = f"key-{number}"
        if len(answers[key]) != 1:
            wrong.append(f"{key} was answered in {len(answers[key])} ways: {list(answers[key])[:3]}")
            continue
        status, body = next(iter(answers[key]))
        said = json.loads(body)
        count, result, transaction = rows.get(key, ("0", "", ""))
        if count != "1":
            wrong.append(f"{key} has {count} rows in the journal")
        if said.get("error", "") != result or (status == 200 and said["transaction"] != transaction):
            wrong.append(f"{key} was answered {said}, and the journal says {result} {transaction}")
        if first[key] > 1:
            wrong.append(f"{key} was answered {first[key]} times as if it had been decided just then")
    print(f"{KEYS} keys by {CLIENTS} clients: {dict(counts)}")
    for line in wrong[:10]:
        print(f"FAILED: {line}")
    sys.exit(1 if wrong or counts["answered"] < KEYS else 0)


main()
