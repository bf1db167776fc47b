"""The load of tests/package/upgrade.sh: deposits of 1 to accounts of its own, each published once, with the broker's confirm, and
one in five through a gateway, until the file argv[1] is there. Writes the key of each that was accepted to the file argv[2]; the
arguments after it are the gateways' addresses."""
import http.client
import json
import os
import random
import sys
import time

import pika

stop_file, keys_file, *gateways = sys.argv[1:]
ACCOUNTS = 20


def over_http(key, account):
    """Tries one gateway after the other, as a proxy before them does; under one key that is one command."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        connection = http.client.HTTPConnection(random.choice(gateways), timeout=10)
        try:
            connection.request("POST", "/transactions", json.dumps({"type": "deposit", "account": account, "amount": 1}), {
                "Content-Type": "application/json", "Idempotency-Key": key, "Authorization": "Bearer " + os.environ["LEDGER_KEY"]})
            response = connection.getresponse()
            body = response.read()
            if response.status == 200:
                return
            if response.status != 503:
                sys.exit(f"{key}: {response.status} {body}")
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    sys.exit(f"{key}: no gateway took it for 30 s")


def main():
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"]))
    channel = connection.channel()
    channel.confirm_delivery()  # basic_publish returns when the broker has it, and raises when it has not
    number = 0
    with open(keys_file, "w", encoding="ascii") as keys:
        while not os.path.exists(stop_file):
            key, account = f"load-{number}", f"load-{number % ACCOUNTS}"
            if number % 5 == 4:
                over_http(key, account)
            else:
                channel.basic_publish("ledger.commands", account, json.dumps({"account": account, "amount": 1}), pika.BasicProperties(
                    content_type="application/json", type="deposit", message_id=key, app_id="load", delivery_mode=2), mandatory=True)
            print(key, file=keys, flush=True)
            number += 1
    connection.close()


main()
