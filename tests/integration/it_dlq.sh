#!/bin/bash
# The operator's tool on real dead letters: looking changes nothing, a replay is recorded and applied once, what is dropped
# was exported and comes back, a second operator is told who is busy. Then LETTERS (2,000) letters are replayed while the
# tool is killed ten times and the worker too: each command has exactly one outcome, and the history says who did it.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh
letters=${LETTERS:-2000}
work=$(mktemp -d)
ledger_begin dlq
dlq=$bin/ledger-dlq

# Publishes to the ledger; the arguments say what.
publish() {
    /usr/bin/python3 - "$LEDGER_PREFIX" "$@" <<'PYTHON'
import json, os, sys
import pika
prefix, what, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"])) as connection:
    channel = connection.channel()
    channel.confirm_delivery()
    def send(route, type, body, key, exchange="commands", **more):
        channel.basic_publish(f"{prefix}.{exchange}", route, body, pika.BasicProperties(
            content_type="application/json", type=type, message_id=key, delivery_mode=2, **more), mandatory=True)
    if what == "mixed":
        for i in range(count):
            account = f"acc-{i % 10}"
            body = json.dumps({"account": account, "amount": 1})
            type = ("deposit", "deposit", "nonsense")[i % 3]
            send(account, type, body if i % 3 else body[:-1], f"mixed-{i}", app_id="bank" if i % 4 == 0 else "shop",
                 headers={"x-trace-id": f"trace-{i}", "mine": {"deep": [1, "two"]}})
    elif what == "large": # read and refused by the worker, dead-lettered by the broker
        send("acc-1", "deposit", b"x" * 1500000, "large")
    elif what == "dead": # good commands that an outage, say, has brought there, with what the ledger adds
        for i in range(count):
            send(f"acc-{i % 10}", "deposit", json.dumps({"account": f"acc-{i % 10}", "amount": 1}), f"dead-{i}", "dlx",
                 user_id="guest", headers={"x-ledger-reason": "internal", "x-ledger-attempts": 2, "x-ledger-position": 1000000 + i,
                 "x-ledger-user-id": "guest", "x-ledger-routing-key": f"acc-{i % 10}", "x-delivery-count": 3})
PYTHON
}
count_of() { /usr/bin/python3 -c "
import os, pika
with pika.BlockingConnection(pika.URLParameters(os.environ['LEDGER_AMQP_URL'])) as c:
    print(c.channel().queue_declare('$LEDGER_PREFIX.$1', passive=True).method.message_count)"; }
ids() { "$dlq" list --limit 0 --output json "$@" | grep -o '"id":"[^"]*"'; }

process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
for i in 0 1 2 3 4 5 6 7 8 9; do ctl open-account acc-$i --user u --asset EUR >/dev/null; done

echo "looking changes neither order nor number"
publish mixed 120 # 40 malformed, 40 deposits, 40 of an unknown type
until_true 20 "80 dead letters" eval '[[ $(count_of dlq) == 80 ]]'
ids >"$work/first"
[[ $(wc -l <"$work/first") == 80 ]] || fail "not 80 are listed"
"$dlq" stats --quiet >/dev/null
"$dlq" list --limit 3 --quiet >/dev/null
"$dlq" show "$(sed -n 5p "$work/first" | cut -d'"' -f4)" --raw >/dev/null
ids | cmp - "$work/first" || fail "the order is another one now"
[[ $(count_of dlq) == 80 ]] || fail "the number is another one now"

echo "filters and groups"
[[ $(ids --where reason=malformed | wc -l) == 40 ]] || fail "not 40 malformed"
[[ $(ids --reason unknown_type --account acc-2 | wc -l) == 4 ]] || fail "not 4 of an unknown type for acc-2"
[[ $(ids --caller bank --command nonsense | wc -l) == 10 ]] || fail "not 10 of the bank"
[[ $(ids --trace-id trace-3 | wc -l) == 1 && $(ids --key mixed-3 | wc -l) == 1 ]] || fail "not one by its trace or key"
[[ $(ids --older 1h | wc -l) == 0 && $(ids --newer 1h | wc -l) == 80 ]] || fail "wrong ages"
"$dlq" stats --by reason --output json | grep -q '"count":40,"reason":"malformed"' || fail "stats are wrong"

echo "dry runs, refusals, records"
[[ $("$dlq" replay --where reason=malformed --dry-run --output json 2>/dev/null | wc -l) == 40 ]] || fail "dry run"
"$dlq" replay 2>/dev/null && fail "replayed without being told which"
"$dlq" drop --all >/dev/null 2>&1 && fail "dropped without --yes"
[[ $(count_of dlq) == 80 ]] || fail "something was done that was not to be done"
"$dlq" replay --where reason=unknown_type --caller bank --operator ada --reason 'they will die again' --quiet
until_true 10 "they died again" eval '[[ $("$dlq" list --caller bank --command nonsense --output json | grep -c "\"attempts\":2") == 10 ]]'
"$dlq" history --output json | grep -q '"operator":"ada".*"reason":"they will die again".*"staged":10,"finished":10' || fail "no record"

echo "what is dropped was exported, and comes back to the byte"
publish large 1
until_true 20 "the large one" eval '[[ $(count_of dlq) == 81 ]]'
"$dlq" export "$work/all.jsonl" --quiet
"$dlq" drop --all --yes --export "$work/dropped.jsonl" --reason test --quiet
strip() { sed -E 's/"properties_base64":"[^"]*",//' "$1"; } # of x-delivery-count, which looking raises
diff <(strip "$work/all.jsonl") <(strip "$work/dropped.jsonl") >/dev/null || fail "the two exports differ"
[[ $(count_of dlq) == 0 ]] || fail "not all were dropped"
head -n 50 "$work/dropped.jsonl" | "$dlq" import - --quiet
"$dlq" import "$work/dropped.jsonl" --quiet # the first 50 are there already
[[ $(count_of dlq) == 81 ]] || fail "not 81 came back"
"$dlq" export "$work/again.jsonl" --quiet
diff <(strip "$work/dropped.jsonl" | sort) <(strip "$work/again.jsonl" | sort) >/dev/null || fail "another thing came back"
echo '{"properties_base64":"!"}' | "$dlq" import - --quiet 2>/dev/null && fail "imported what is no letter"

echo "a second operator is told who is busy"
"$dlq" replay --where reason=unknown_type --rate 5 --operator ada --quiet & ada=$!
sleep 1
code=0
"$dlq" replay --all --operator bob --wait 0 2>"$work/bob" || code=$?
[[ $code == 5 ]] && grep -q 'ada is busy with operation' "$work/bob" || fail "bob was told: $(cat "$work/bob")"
"$dlq" history --output json | grep -q '"state":"running","operator":"ada"' || fail "bob cannot see what is pending"
kill -INT $ada
wait $ada && fail "an interrupted replay is done" || [[ $? == 3 ]] || fail "not stopped in good order"
"$dlq" drop --all --yes --export "$work/rest.jsonl" --quiet

echo "$letters letters, replayed while the tool and the worker are killed ten times"
publish dead "$letters"
for round in 1 2 3 4 5 6 7 8 9 10; do
    "$dlq" replay --all --operator "round-$round" --reason 'after the outage' --rate $((letters / 8)) --wait 30 --quiet 2>>"$work/kills" & tool=$!
    sleep 0."$((RANDOM % 6 + 3))"
    kill -KILL $tool 2>/dev/null || true
    wait $tool 2>/dev/null || true
    process_kill worker KILL
    wait "${pids[worker]}" 2>/dev/null || true
    process worker ledger-worker
done
"$dlq" list --limit 1 --wait 30 --output json >/dev/null # the last killed one's letters are back
"$dlq" replay --all --operator round-11 --rate 0 --wait 30 --quiet
outcomes() { sql "SELECT count(*) || ' ' || count(DISTINCT key) FROM journal WHERE key LIKE 'dead-%' AND result IS NULL AND caller = 'guest'"; }
until_true 60 "an outcome each" eval '[[ $(outcomes) == "$letters $letters" ]]'
[[ $(count_of dlq) == 0 ]] || fail "$(count_of dlq) letters are left"
[[ $(sql "SELECT sum(balance) FROM account WHERE kind = 0") == $((letters + 40)) ]] || fail "applied more than once"
"$dlq" history --output json >"$work/history"
[[ $(grep -c '"state":"interrupted","operator":"round-' "$work/history") -ge 8 ]] || fail "hardly one was interrupted"
grep -q '"state":"done","operator":"round-11"' "$work/history" || fail "the last one is not on record"
[[ $(sql "SELECT count(DISTINCT letter) FROM operation_letter JOIN operation ON id = operation WHERE operator LIKE 'round-%'") == "$letters" ]] ||
    fail "not every letter is on record"
echo "$(grep -c interrupted "$work/history") interrupted, $(sql "SELECT sum(finished) FROM operation WHERE operator LIKE 'round-%'") finished in all"

process_end worker
process_end relay
"$bin/ledgerctl" verify
rm -rf "$work"
