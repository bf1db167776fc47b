#!/bin/bash
# Which shard an account's commands go to: the same one after a restart of RabbitMQ and after a crash, or commands
# that wait in the old one would be decided after newer ones. And a shard moves to a worker that joins under a load
# that never pauses: nobody decides its commands meanwhile.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh
ledger_begin routes

load() { # SECONDS: 300 deposits a second
    /usr/bin/python3 - "$LEDGER_PREFIX" "$1" <<'PYTHON'
import json, os, sys, time
import pika
prefix, seconds = sys.argv[1], int(sys.argv[2])
with pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"])) as connection:
    channel = connection.channel()
    begin = time.monotonic()
    count = 300 * seconds
    for i in range(count):
        # Each queue's last confirm is that of all before it; without one RabbitMQ forgets what comes right before a channel's end.
        if i == count - 40:
            channel.confirm_delivery()
        body = {"account": f"a{i % 40}", "amount": 1}
        channel.basic_publish(f"{prefix}.commands", body["account"], json.dumps(body),
            pika.BasicProperties(content_type="application/json", type="deposit", message_id=f"key-{i}", delivery_mode=2))
        connection.process_data_events(max(0, begin + i / 300 - time.monotonic()))
PYTHON
}

echo "a shard moves under a load without a pause"
process first ledger-worker
until_true 20 "one works" has_logged first "took shard"
load 8 & loading=$!
sleep 2
process second ledger-worker
until_true 4 "the second one works too" has_logged second "took shard"
kill -0 $loading || fail "the load was over before that"
wait $loading
decided() { sql "SELECT count(*) FROM journal"; }
until_true 20 "all decided" eval '[[ $(decided) == 2400 ]]'
for name in first second; do process_end $name; done

routes() { # which queue each of 400 accounts' commands come to
    /usr/bin/python3 - "$LEDGER_PREFIX" "$LEDGER_SHARDS" <<'PYTHON'
import os, sys
import pika
prefix, shards = sys.argv[1], int(sys.argv[2])
place = pika.URLParameters(os.environ["LEDGER_AMQP_URL"])
place.connection_attempts, place.retry_delay = 60, 1  # one that starts listens before it lets in
with pika.BlockingConnection(place) as connection:
    channel = connection.channel()
    channel.confirm_delivery()
    for account in range(400):
        channel.basic_publish(f"{prefix}.commands", f"a{account}", str(account).encode(), mandatory=True)
    for shard in range(shards):
        for method, _, body in channel.consume(f"{prefix}.commands.{shard}", auto_ack=True, inactivity_timeout=1):
            if method is None:
                break
            print(body.decode(), shard)
        channel.cancel()
PYTHON
}

echo "routes outlive the broker"
before=$(routes)
[[ $(wc -l <<<"$before") == 400 && $(cut -d' ' -f2 <<<"$before" | sort -u | wc -l) == "$LEDGER_SHARDS" ]] ||
    fail "not every account has a route, or not every shard has accounts"
for how in stop kill; do
    "$servers" "$how" "$instance" rabbitmq
    "$servers" start "$instance" rabbitmq
    after=$(routes)
    [[ $after == "$before" ]] || fail "$how: $(comm -13 <(sort <<<"$before") <(sort <<<"$after") | wc -l) of" \
        "400 accounts have another shard than before, or $((400 - $(wc -l <<<"$after"))) have none"
done
