#!/bin/bash
# The ledger as an operator sees it: keys, servers that stop and come back, shards that move.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

redis_flush() { redis-cli -u "$LEDGER_REDIS_URL" flushall >/dev/null; }
http_port() { grep -oE 'health on port [0-9]+' "$logs/$1.log" | tail -n 1 | grep -oE '[0-9]+'; }
ready() { curl -s -o - -w ' %{http_code}' "http://127.0.0.1:$(http_port "$1")/health/ready"; }
says() { [[ $(ready "$1") == *"\"$2\""*"$3" ]]; }
shards_of() { sql "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND objid < $LEDGER_SHARDS
    AND pid = (SELECT pid FROM pg_stat_activity WHERE application_name = 'ledger-worker ${pids[$1]}')"; }
has_shards() { [[ $(shards_of "$1") == "$2" ]]; }
deposit() { ctl deposit alice 1 --key "$1" --timeout 60000; }
balance() { field balance "$(ctl get-balance alice --timeout 60000)"; }

ledger_begin ledger
process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
expect "$(ctl open-account alice --user alice --asset EUR)" status applied code 201

echo "one key, one outcome"
first=$(deposit one)
expect "$first" status applied code 200 balance 100
again=$(deposit one)
expect "$again" status applied replayed true transaction "$(field transaction "$first")"
expect "$(ctl deposit alice 2 --key one)" status conflict code 409 error idempotency_key_reused
expect "$(ctl withdraw alice 5 --key refused)" status rejected error insufficient_funds
redis_flush
expect "$(deposit one)" status applied replayed true transaction "$(field transaction "$first")" timestamp "$(field timestamp "$first")"
expect "$(ctl deposit alice 2 --key one)" status conflict code 409 error idempotency_key_reused
expect "$(ctl withdraw alice 5 --key refused)" status rejected error insufficient_funds replayed true
[[ $(balance) == 100 ]] || fail "the balance is $(balance)"

echo "a batch, all or none; a hold that nobody captures"
expect "$(ctl open-account carol --user carol --asset EUR)" status applied
leg() { printf '{"type":"transfer","idempotency_key":"%s","from":"alice","to":"carol","amount":%s}' "$1" "$2"; }
batch=$(ctl batch - --key b1 <<<"[$(leg b1/1 60), $(leg b1/2 50)]")
expect "$batch" status rejected error insufficient_funds failed 1
batch=$(ctl batch - --key b2 <<<"[$(leg b1/1 60), $(leg b1/2 40)]")
expect "$batch" status applied code 200
[[ $(balance) == 0 ]] || fail "the balance is $(balance)"
expect "$(ctl batch - --key b2 <<<"[$(leg b1/1 60), $(leg b1/2 40)]")" status applied replayed true
"$bin/ledgerctl" batch - --key b2 <<<"[$(leg b1/1 60), $(leg b1/2 40)]" | grep -q '^1 .*b1/2 .*applied$' || fail "no table of results"
expect "$(ctl batch - --key b3 --independent <<<"[$(leg b3/1 5)]")" status applied
hold=$(field transaction "$(ctl hold carol 0.70 --expires-in 1 --key h1)")
expect "$(ctl get-balance carol)" balance 100 held 70 available 30
until_true 20 "its expiry" eval '[[ $(field held "$(ctl get-balance carol)") == 0 ]]'
expect "$(ctl capture "$hold" --key late)" status rejected error hold_expired
back=$(printf '{"type":"transfer","idempotency_key":"b4/1","from":"carol","to":"alice","amount":100}')
expect "$(ctl batch - --key b4 <<<"[$back]")" status applied
[[ $(balance) == 100 ]] || fail "the balance is $(balance)"

echo "an overdraft; an asset of one's own"
expect "$(ctl open-account dave --user dave --asset EUR)" status applied
expect "$(ctl set-floor dave --key f1 -- 0.01)" status rejected error invalid_amount
expect "$(ctl set-floor dave --key f2 -- -5.00)" status applied seq 1
expect "$(ctl set-floor dave --key f2 -- -5.00)" status applied replayed true
expect "$(ctl withdraw dave 5.01 --key f3)" status rejected error insufficient_funds
expect "$(ctl withdraw dave 5 --key f4)" status applied balance -500 available -500
expect "$(ctl get-account dave)" floor -500
"$bin/ledgerctl" get-account dave | grep -q '^floor  *-500 ' || fail "no floor is shown"
expect "$(ctl set-floor dave --key f5 -- 0)" status rejected error insufficient_funds
expect "$(ctl deposit dave 5 --key f6)" status applied balance 0
expect "$(ctl open-account dave:pts --user dave --asset POINTS --key p1)" error asset_not_found
expect "$(ctl asset add POINTS 0)" asset POINTS scale 0 added true
expect "$(ctl asset add POINTS 0)" added false
"$bin/ledgerctl" asset add POINTS 1 2>/dev/null && fail "an asset changed its scale"
[[ $("$bin/ledgerctl" asset add points 0 2>&1; echo $?) == *2 ]] || fail "a code in small letters was taken"
"$bin/ledgerctl" asset list | grep -qE '^POINTS +0$' || fail "the asset is not listed"
ctl asset list | python3 -c 'import json,sys; a={x["asset"]: x["scale"] for x in json.load(sys.stdin)}; assert a["POINTS"] == 0 and a["EUR"] == 2'
expect "$(ctl open-account dave:pts --user dave --asset POINTS --key p2)" status applied
expect "$(ctl deposit dave:pts 7 --key p3)" status applied balance 7

echo "without Redis"
says worker ready 200 || fail "not ready: $(ready worker)"
"$servers" stop "$instance" redis
expect "$(deposit two)" status applied balance 200
expect "$(deposit two)" status applied replayed true balance 200
until_true 10 "degraded" says worker degraded 200
"$servers" start "$instance" redis
until_true 10 "ready again" eval 'deposit three >/dev/null; says worker ready 200'
[[ $(balance) == 300 ]] || fail "the balance is $(balance)"

echo "without PostgreSQL for a while: stopped, then killed"
for how in stop kill; do
    "$servers" "$how" "$instance" postgres
    for ((i = 0; i < 50; i++)); do "$bin/ledgerctl" deposit alice 1 --key "$how-$i" --no-wait; done
    until_true 10 "unavailable" says worker unavailable 503
    sleep 2
    "$servers" start "$instance" postgres
    expect "$(deposit "$how-last")" status applied
    until_true 20 "ready again" says worker ready 200
done
until_true 20 "all of it applied" eval '[[ $(balance) == 10500 ]]'
[[ $(queue_depth "$LEDGER_PREFIX.dlq") == 0 ]] || fail "something was dead-lettered"

echo "without RabbitMQ for a while, with commands in its queues: stopped, then killed"
for how in stop kill; do
    process_kill worker STOP
    for ((i = 0; i < 50; i++)); do "$bin/ledgerctl" deposit alice 1 --key "queued-$how-$i" --no-wait; done
    "$servers" "$how" "$instance" rabbitmq
    process_kill worker CONT
    until_true 10 "unavailable" says worker unavailable 503
    "$servers" start "$instance" rabbitmq
    expect "$(deposit "queued-$how-last")" status applied
done
until_true 20 "all of it applied" eval '[[ $(balance) == 20700 ]]'
[[ $(queue_depth "$LEDGER_PREFIX.dlq") == 0 ]] || fail "something was dead-lettered"

echo "shards go to whoever is there"
until_true 10 "all 4 shards" has_shards worker 4
process second ledger-worker
until_true 10 "two each" eval 'has_shards worker 2 && has_shards second 2'
process third ledger-worker
until_true 10 "fair shares" eval '[[ $(shards_of worker)$(shards_of second)$(shards_of third) =~ ^(112|121|211)$ ]]'
process_end second
process_kill third KILL
wait "${pids[third]}" 2>/dev/null || true
unset 'pids[third]'
until_true 10 "all 4 shards again" has_shards worker 4

process_end relay 5
process_end worker 5
"$bin/ledgerctl" verify
