#!/bin/bash
# Webhooks to endpoints that fail, hang, redirect, answer slowly or too much, and die, while the dispatcher is killed: each
# event arrives at each, signed, in the promised schedule and order; what is given up is a dead letter that a replay brings
# back; nothing on the inside is posted to.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

ledger_begin webhooks
export LEDGER_WEBHOOK_PRIVATE=on LEDGER_WEBHOOK_SCHEDULE=1,2,3 LEDGER_WEBHOOK_TIMEOUT_MS=1500 LEDGER_WEBHOOK_PER_ENDPOINT=2
posts=$logs/posts secrets=$logs/secrets healed=$logs/healed
declare -A ids=()
touch "$posts" "$secrets"

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port=$((32000 + RANDOM % 700)); until port_is_free $port && port_is_free $((port + 1)); do port=$((port + 2)); done
receive() { # NAME PORT [KEY CERT]
    node tests/interop/webhooks.mjs "$2" "$posts" "$secrets" "$healed" "${@:3}" >>"$logs/$1.log" 2>&1 </dev/null &
    pids[$1]=$!
}
add_url() { # NAME URL OPTION...: an endpoint, whose secret is told to the receiver
    local reply
    reply=$("$bin/ledgerctl" --output json webhook add "${@:2}") || fail "webhook add $2"
    ids[$1]=$(field id "$reply")
    echo "${2##*/} $(field secret "$reply")" >>"$secrets"
}
add() { add_url "$1" "http://127.0.0.1:$port/$1" "${@:2}"; }
posted_to() { until_true 20 "endpoint $1 is known" has_logged dispatcher "endpoint ${ids[$1]} is posted to"; }
accepted() { awk -v p="$1" '$1 == p && $3 == "accepted" { print $2 }' "$posts" | sort -u | wc -l; }
dead() { "$bin/ledger-dlq" list --where reason=webhook_failed --limit 0 --output json --quiet 2>/dev/null | wc -l; }
given_up() { grep -oE 'event [^ ]+ for endpoint [^ ]+ goes to the dead letters' "$logs/dispatcher.log" | sort -u | wc -l; }
verdict() { "$bin/ledgerctl" --timeout 8000 webhook test "${ids[$1]}" 2>&1 || true; }

receive receiver $port
process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
process dispatcher ledger-webhooks
until_true 20 "the dispatcher is connected" has_logged dispatcher 'connected to RabbitMQ'
until_true 20 "the receiver listens" has_logged receiver listening
for name in good flaky slow big; do add $name; done
for name in hang redirect dead gone; do add $name --types account.opened --account 'a*'; done
add ordered --ordered --types '*'
for name in "${!ids[@]}"; do posted_to "$name"; done
[[ $(verdict good) == accepted* ]] || fail "webhook test: $(verdict good)"

echo "a slow one delays no other"
for account in ada ann bob; do "$bin/ledgerctl" open-account $account --user u --asset EUR --key $account >/dev/null; done
for i in $(seq 24); do ctl deposit "$([[ $((i % 2)) == 0 ]] && echo ada || echo bob)" 1.00 --key "d$i" --no-wait; done
echo '[{"type":"deposit","idempotency_key":"b1","account":"ada","amount":1},{"type":"deposit","idempotency_key":"b2","account":"bob","amount":2}]' |
    ctl batch - --key batch >/dev/null
events=$((3 + 24 + 2))
until_true 20 "all events at the good one" eval '(($(accepted good) == events + 1))'
(($(accepted slow) < events)) || fail "the slow one was as fast"

echo "killed: the dispatcher, then the receiver"
process_kill dispatcher KILL; wait "${pids[dispatcher]}" 2>/dev/null || true
process dispatcher ledger-webhooks
# A receiver that begins anew refuses again what it had refused before: of an event in the middle of it, that would be
# more than it has tries.
until_true 60 "what came before at flaky" eval '(($(accepted flaky) == events))'
process_kill receiver KILL; wait "${pids[receiver]}" 2>/dev/null || true
for i in 1 2 3 4; do ctl transfer ada bob 0.01 --key "t$i" --no-wait; done
events=$((events + 8))
receive receiver $port
for name in flaky slow big ordered; do
    until_true 30 "all events at $name" eval '(($(accepted '$name') == events))'
done
(($(accepted good) == events + 1)) || fail "$(accepted good) at the good one"
! awk '$3 ~ /^un/' "$posts" | grep . || fail "a post was not signed, or had not the event's trace"

echo "an account's events in their order"
awk '$1 == "ordered" && $3 == "accepted" && !seen[$2]++ && $5 != "-" {
    if ($5 < last[$4]) { print "out of order: " $0; bad = 1 } last[$4] = $5 } END { exit bad }' "$posts" || fail "the order"

# One that waits for what never comes, and for which somebody has put that right: see the end.
sql "INSERT INTO webhook_waiting (endpoint, account, position) VALUES ('${ids[ordered]}', 'ann', 1)"
ctl deposit ann 1.00 --key waits >/dev/null
events=$((events + 1))
until_true 10 "it waits" eval '[[ $(sql "SELECT count(*) FROM webhook_waiting WHERE body IS NOT NULL") == 1 ]]'
sql "DELETE FROM webhook_waiting WHERE body IS NULL; UPDATE webhook_waiting SET waits_from = now() - interval '1 hour'"

echo "given up in time, and brought back"
until_true 30 "6 dead letters" eval '(($(given_up) == 6 && $(dead) >= 6))' # the kill may have doubled some
tried="FROM webhook_attempt a WHERE endpoint = '${ids[dead]}'"
before="FROM webhook_attempt b WHERE b.endpoint = a.endpoint AND b.event = a.event AND b.try = a.try - 1"
late=$(sql "SELECT count(*) $tried AND EXISTS (SELECT $before) AND NOT EXISTS (
    SELECT $before AND extract(epoch FROM a.attempted_at - b.attempted_at) BETWEEN b.try AND b.try * 1.2 + 10)")
[[ $late == 0 ]] || fail "$late tries are not in the schedule"
(($(sql "SELECT count(DISTINCT (event, try)) $tried") >= 2 * 4 - 2)) || fail "tries are not recorded" # the kill may have cost two
[[ $(ctl webhook attempts "${ids[dead]}" --limit 1) == *'"try":4,"status":503'* ]] || fail "the attempts are not listed"
(($(accepted trap) == 0)) || fail "a redirect was followed"
[[ $(ctl webhook list) == *"\"id\":\"${ids[gone]}\""*'"pause_reason":"it answered 410 Gone"'* ]] || fail "410 does not pause"
touch "$healed"
"$bin/ledger-dlq" replay --where reason=webhook_failed --reason test --yes --quiet >/dev/null || fail "replay"
until_true 20 "what was dead" eval '(($(accepted dead) == 2))'

echo "secrets, pause, remove"
reply=$(ctl webhook rotate-secret "${ids[good]}")
echo "good $(field secret "$reply")" >>"$secrets" # both must sign
until_true 10 "both secrets sign" eval '[[ $(verdict good) == accepted* ]]'
"$bin/ledgerctl" webhook pause "${ids[good]}" >/dev/null
until_true 10 "good is paused" has_logged dispatcher "endpoint ${ids[good]} is not posted to"
ctl deposit ada 1.00 --key paused >/dev/null
until_true 10 "the others have it" eval '(($(accepted big) == events + 1))'
last=$(awk '$1 == "big" { print $2 }' "$posts" | tail -n 1)
! grep "^good $last" "$posts" || fail "it was posted to while paused"
"$bin/ledgerctl" webhook resume "${ids[good]}" >/dev/null
until_true 10 "what had gathered" grep "^good $last accepted" "$posts"
"$bin/ledgerctl" webhook remove "${ids[hang]}" >/dev/null
until_true 15 "all at the ordered one" eval '(($(accepted ordered) == events + 1))'
until_true 5 "nothing waits" eval '[[ $(sql "SELECT count(*) FROM webhook_waiting") == 0 ]]'
until_true 15 "hang is removed" has_logged dispatcher "endpoint ${ids[hang]} is removed"

echo "whom it trusts, and what is inside"
openssl req -x509 -newkey ed25519 -nodes -keyout "$logs/tls.key" -out "$logs/tls.pem" -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null
receive receiver-tls $((port + 1)) "$logs/tls.key" "$logs/tls.pem"
until_true 20 "the receiver listens" has_logged receiver-tls listening
sed -i '/^good /d' "$secrets" # from now on that of the new endpoint
add_url tls "https://localhost:$((port + 1))/good"
posted_to tls
[[ $(verdict tls) == *certificate* ]] || fail "an unknown certificate: $(verdict tls)"
process_end dispatcher
LEDGER_WEBHOOK_CA=$logs/tls.pem process dispatcher ledger-webhooks
[[ $(verdict tls) == accepted* ]] || fail "a known certificate: $(verdict tls)"
inside=("http://127.0.0.1:$((port + 1))" "https://127.0.0.1:$((port + 1))/" "https://169.254.169.254/latest/meta-data/" 'https://[::1]/'
    'https://0x7f000001/' 'https://[::ffff:10.0.0.1]/' 'https://localhost/' 'https://me:secret@example.com/')
for url in "${inside[@]}"; do
    ! LEDGER_WEBHOOK_PRIVATE=off "$bin/ledgerctl" webhook add "$url" 2>/dev/null || fail "$url was taken"
done
unset 'inside[7]'
for url in "${inside[@]}"; do add_url "$url" "$url"; done
process_end dispatcher
touch "$healed.closed" # from now on each connection is noted
export LEDGER_WEBHOOK_PRIVATE=off LEDGER_WEBHOOK_CA=$logs/tls.pem
process dispatcher ledger-webhooks
for url in "${inside[@]}" tls; do # by its name, too
    said=$(verdict "$url")
    [[ $said == *"not a public one"* || ($url == http:* && $said == *rotocol*) ]] || fail "$url: $said"
done
! grep connected "$posts" || fail "it was connected to"
process_end dispatcher
process_end worker
process_end relay
! sql 'SET ROLE ledger_reader; SELECT secret FROM webhook_endpoint' 2>/dev/null || fail "who reads all reads secrets"
! sql 'SET ROLE ledger_webhooks; SELECT 1 FROM account' 2>/dev/null || fail "the dispatcher reads accounts"
"$bin/ledgerctl" verify >/dev/null
awk '{ n[$3]++ } END { for (v in n) printf "%d posts %s, ", n[v], v }' "$posts"
echo "$(dead) dead letters left"
