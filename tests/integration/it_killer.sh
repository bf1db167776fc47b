#!/bin/bash
# A message that kills every worker that decodes it, among 1,000 good ones: the good ones are all applied, it is
# dead-lettered as crashed_worker within a minute, and nobody attends to it but a supervisor that starts workers again.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
LEDGER_BIN=$PWD/build/gcc-broken/bin # its decoder has a fault that the word "deadly" meets
source tests/whole.sh
ledger_begin killer
export LEDGER_BROKEN=killed_by_a_message

supervise() { # what Kubernetes does, without its pauses
    while :; do
        "$bin/ledger-worker" >>"$logs/$1.log" 2>&1 </dev/null & child=$!
        trap 'kill -TERM $child; wait $child; exit' TERM
        wait $child || echo died >>"$logs/deaths"
    done
}

process relay ledger-relay
for name in first second; do supervise $name & pids[$name]=$!; done
until_true 20 "both work" eval 'has_logged first "took shard" && has_logged second "took shard"'

echo "1,000 good ones, and one that kills"
/usr/bin/python3 - "$LEDGER_PREFIX" <<'PYTHON'
import json, os, sys
import pika
prefix = sys.argv[1]
with pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"])) as connection:
    channel = connection.channel()
    channel.confirm_delivery()
    def publish(key, type, body):
        channel.basic_publish(f"{prefix}.commands", body["account"], json.dumps(body),
            pika.BasicProperties(content_type="application/json", type=type, message_id=key, delivery_mode=2), mandatory=True)
    for account in range(10):
        publish(f"open-{account}", "open_account", {"account": f"a{account}", "user_id": "u", "asset": "EUR"})
    for i in range(1000):
        publish(f"good-{i}", "deposit", {"account": f"a{i % 10}", "amount": 1})
        if i == 300:
            publish("deadly-key", "deposit", {"account": "a7", "amount": 1, "metadata": {"note": "deadly"}})
PYTHON
SECONDS=0
applied() { sql "SELECT count(*) FROM journal WHERE key LIKE 'good-%' AND result IS NULL"; }
until_true 60 "all applied and the one dead" eval '[[ $(applied) == 1000 && $(queue_depth "$LEDGER_PREFIX.dlq") == 1 ]]'
echo "after $SECONDS s and $(wc -l <"$logs/deaths") deaths"
[[ $(sql "SELECT count(*) FROM journal WHERE key = 'deadly-key'") == 0 ]] || fail "the deadly one was decided"
[[ $(sql "SELECT sum(balance) FROM account WHERE kind = 0") == 1000 ]] || fail "not 1000 in all"
[[ $(sql "SELECT count(*) FROM suspect") == 0 ]] || fail "a suspect was not acquitted"
/usr/bin/python3 - "$LEDGER_PREFIX" <<'PYTHON' || fail "not the dead letter that was expected"
import os, sys
import pika
with pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"])) as connection:
    _, properties, body = connection.channel().basic_get(f"{sys.argv[1]}.dlq", auto_ack=True)
    assert properties.headers["x-ledger-reason"] == "crashed_worker", properties.headers
    assert properties.message_id == "deadly-key" and b"deadly" in body
PYTHON

echo "one over which each worker ends by itself"
sql "CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
         IF NEW.key = 'damaged' THEN RAISE EXCEPTION 'a page is damaged' USING ERRCODE = 'XX001'; END IF; RETURN NEW; END \$\$;
     CREATE TRIGGER damage BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION damage()"
expect "$(ctl deposit a5 1 --key damaged --timeout 60000)" status failed error crashed_worker
expect "$(ctl deposit a5 1 --key sound --timeout 60000)" status applied
[[ $(sql "SELECT count(*) FROM suspect") == 0 ]] || fail "a suspect was not acquitted"
sql "DROP TRIGGER damage ON journal"
for name in first second; do process_end $name; done

echo "one that seven workers cannot decide, and give back alive, killed nobody"
export LEDGER_ANSWER_TIMEOUT_MS=1000
psql -X -q "$LEDGER_DATABASE_URL" -c "SET application_name = stranger" -c "BEGIN" -c "SELECT FROM ledger.account WHERE id = 'a3' FOR UPDATE" \
    -c "SELECT pg_sleep(60)" >/dev/null 2>&1 & stranger=$!
until_true 20 "a stranger holds an account" eval '[[ $(sql "SELECT count(*) FROM pg_stat_activity WHERE application_name = '\''stranger'\'' AND query LIKE '\''%sleep%'\''") == 1 ]]'
ctl deposit a3 1 --key waits --timeout 60000 >"$logs/reply" & caller=$!
most=0
for round in 1 2 3 4 5 6 7; do
    process "alive-$round" ledger-worker
    until_true 20 "worker $round met the lock" has_logged "alive-$round" 'lock timeout'
    most=$((most + $(sql "SELECT count(*) FROM suspect WHERE times = 1")))
    process_end "alive-$round" # it gives up what it has in hand
    [[ $(sql "SELECT coalesce(max(times), 0) FROM suspect") == 0 ]] || fail "worker $round is counted among the dead"
done
((most >= 4)) || fail "it was noted by $most workers only"
kill $stranger
sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stranger'" >/dev/null
process last ledger-worker
wait $caller
expect "$(<"$logs/reply")" status applied
[[ $(queue_depth "$LEDGER_PREFIX.dlq") == 1 && $(sql "SELECT count(*) FROM suspect") == 0 ]] || fail "it was taken for a killer"
process_end last
process_end relay
