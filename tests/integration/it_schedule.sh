#!/bin/bash
# Scheduled commands as callers and operators meet them: accepted, told, executed when due, cancelled; and whatever
# befalls the workers then: each ends once, and none holds the others or the queues up.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

in_seconds() { sql "SELECT to_char((clock_timestamp() + interval '$1 s') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"; }
balance() { field balance "$(ctl get-balance "$1" --timeout 60000)"; }
has() { [[ $(balance "$1") == "$2" ]]; }
state_of() { field state "$(ctl get-transaction "$1")"; }
pending() { sql "SELECT count(*) FROM scheduled WHERE NOT done"; }
http_port() { grep -oE 'health on port [0-9]+' "$logs/$1.log" | tail -n 1 | grep -oE '[0-9]+'; }
overdue() { curl -s "http://127.0.0.1:$(http_port "$1")/metrics" | awk '$1 == "ledger_scheduled_overdue_seconds" { print int($2) }'; }
supervise() { # what Kubernetes does, without its pauses
    while :; do
        "$bin/ledger-worker" >>"$logs/$1.log" 2>&1 </dev/null & child=$!
        echo $child >"$logs/$1.pid"
        trap 'kill -TERM $child; wait $child; exit' TERM
        wait $child 2>/dev/null || echo died >>"$logs/deaths"
    done
}

# publish ACCOUNT NAME COUNT DUE: so many deposits of 1, with the keys NAME-0, NAME-1, ... All go to one queue, so the
# last one's confirm is that of all; without it RabbitMQ forgets what comes right before a channel's end.
publish() {
    /usr/bin/python3 - "$LEDGER_PREFIX" "$@" <<'PYTHON'
import json, os, sys
import pika
prefix, account, name, count, due = sys.argv[1:]
with pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"])) as connection:
    channel = connection.channel()
    for i in range(int(count)):
        if i == int(count) - 1:
            channel.confirm_delivery()
        channel.basic_publish(f"{prefix}.commands", account, json.dumps({"account": account, "amount": 1, "not_before": due}),
            pika.BasicProperties(content_type="application/json", type="deposit", message_id=f"{name}-{i}", delivery_mode=2))
PYTHON
}
# in_order ACCOUNT: what was scheduled for it was executed as it was due, and accepted.
in_order() {
    [[ $(sql "SELECT count(*) FROM (SELECT credit_seq - lag(credit_seq) OVER (ORDER BY due_at, scheduled.number) AS step
                 FROM scheduled JOIN journal ON journal.scheduled = scheduled.id JOIN account ON account.number = credit
                WHERE account.id = '$1' AND key NOT LIKE 'k-%') AS steps WHERE step <= 0") == 0 ]] || fail "$1: not in order"
}
have_died() { [[ $(wc -l <"$logs/deaths") == "$1" ]]; }
declare -A killed=()
is_new() { [[ -s $logs/$1.pid && $(<"$logs/$1.pid") != "${killed[$1]:-}" ]] && kill -0 "$(<"$logs/$1.pid")"; }
kill_anew() { # the process that came after the last one that was killed
    until_true 20 "$1 is there again" is_new "$1"
    killed[$1]=$(<"$logs/$1.pid")
    kill -KILL "${killed[$1]}" || fail "$1 was dead already"
}

ledger_begin schedule
process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
for account in alice bob carol; do expect "$(ctl open-account $account --user $account --asset EUR)" status applied; done

echo "accepted now, executed when it is due, answered the same for ever"
due=$(in_seconds 8)
first=$(ctl deposit alice 1 --key later --not-before "$due")
expect "$first" status scheduled code 202 scheduled_for "$due"
[[ $first != *'"error"'* && $first != *balances* ]] || fail "$first"
"$bin/ledgerctl" deposit alice 1 --key later --not-before "$due" >/dev/null || fail "what is scheduled is no failure"
id=$(field transaction "$first")
expect "$(ctl deposit alice 1 --key later --not-before "$due")" status scheduled replayed true transaction "$id"
expect "$(ctl deposit alice 2 --key later --not-before "$due")" status conflict
expect "$(ctl get-transaction "$id")" transaction "$id" state pending scheduled_for "$due" idempotency_key later
[[ $(ctl scheduled) == *"\"transaction\":\"$id\",\"type\":\"deposit\",\"scheduled_for\":\"$due\",\"overdue\":false,"*'"command":{"account":"alice",'* ]] ||
    fail "not in the list: $(ctl scheduled)"
"$bin/ledgerctl" scheduled | grep -q "$id.*deposit.*later$" || fail "no table of what waits"
has alice 0 || fail "it was executed at once"
until_true 20 "its execution" has alice 100
expect "$(ctl get-transaction "$id")" state executed
done=$(field executed_by "$(ctl get-transaction "$id")")
expect "$(ctl get-transaction "$done")" type deposit scheduled "$id" trace_id "$(field trace_id "$first")"
expect "$(ctl deposit alice 1 --key later --not-before "$due")" status scheduled replayed true transaction "$id" \
    timestamp "$(field timestamp "$first")"
[[ $(sql "SELECT count(*) FROM journal WHERE scheduled = '$id' AND created_at >= '$due'") == 1 ]] || fail "not in time"
expect "$(ctl deposit alice 1 --not-before "$(in_seconds -1)")" status applied code 200
expect "$(ctl withdraw alice 1000 --not-before "$(in_seconds 3600)" --dry-run)" status rejected error insufficient_funds dry_run true
expect "$(ctl deposit alice 1 --not-before 2126-01-01T00:00:00Z)" status rejected error too_far_ahead

echo "refused when it is due; cancelled before"
id=$(field transaction "$(ctl withdraw alice 1000 --not-before "$(in_seconds 1)")")
until_true 20 "its refusal" eval '[[ $(state_of $id) == refused ]]'
expect "$(ctl get-transaction "$id")" error insufficient_funds
id=$(field transaction "$(ctl withdraw alice 1 --not-before "$(in_seconds 3600)")")
cancel=$(ctl cancel "$id" --key no)
expect "$cancel" status applied
expect "$(ctl get-transaction "$id")" state cancelled cancelled_by "$(field transaction "$cancel")"
expect "$(ctl cancel "$id")" status rejected error already_cancelled
[[ $(pending) == 0 && -z $(ctl scheduled) ]] || fail "something waits"

echo "a batch, all or none"
leg() { printf '{"type":"transfer","idempotency_key":"%s","from":"alice","to":"bob","amount":%s}' "$1" "$2"; }
ctl batch - --not-before "$(in_seconds 1)" <<<"[$(leg b1/1 150), $(leg b1/2 100)]" >/dev/null
ctl batch - --not-before "$(in_seconds 1)" <<<"[$(leg b2/1 150), $(leg b2/2 50)]" >/dev/null
until_true 20 "both" eval '[[ $(pending) == 0 ]]'
has bob 200 || fail "bob has $(balance bob)"

echo "what the database refuses ends as that, and takes no other along"
sql "ALTER TABLE journal ADD CONSTRAINT poison CHECK (scheduled IS NULL OR result IS NOT NULL OR key NOT LIKE 'poison%'),
     ADD CONSTRAINT hopeless CHECK (scheduled IS NULL OR key <> 'hopeless')"
due=$(in_seconds 2)
for i in 1 2 3; do ctl deposit alice 1 --key "good-$i" --not-before "$due" >/dev/null; done
poison=$(field transaction "$(ctl deposit alice 1 --key poison --not-before "$due")")
hopeless=$(field transaction "$(ctl deposit carol 1 --key hopeless --not-before "$due")")
for i in 4 5 6; do ctl deposit alice 1 --key "good-$i" --not-before "$due" >/dev/null; done
until_true 20 "all but one" eval '[[ $(pending) == 1 ]]'
has alice 600 || fail "alice has $(balance alice)"
expect "$(ctl get-transaction "$poison")" state refused error internal
expect "$(ctl get-transaction "$hopeless")" state pending
until_true 20 "the gauge to tell" eval '(($(overdue worker) >= 3))'
expect "$(ctl deposit alice 1 --timeout 2000)" status applied
has_logged worker 'commands that are due stay so' || fail "nothing was logged"

echo "more of those than a look takes hold their own account up, in its order, and no other"
sql "ALTER TABLE journal DROP CONSTRAINT hopeless, ADD CONSTRAINT hopeless CHECK (scheduled IS NULL OR key !~ '^(stuck|hopeless)')"
due=$(in_seconds 20) # all are accepted by then, on a busy machine too
later=$(in_seconds 21)
publish carol stuck 300 "$due"
publish carol behind 1 "$later"
publish bob aside 1 "$later"
until_true 60 "what is beside them" eval '[[ $(sql "SELECT count(*) FROM journal WHERE key = '\''aside-0'\'' AND scheduled IS NOT NULL") == 1 ]]'
[[ $(pending) == 302 ]] || fail "$(pending) wait"
has bob 201 || fail "bob has $(balance bob)"
has carol 0 || fail "carol has $(balance carol)"
expect "$(ctl deposit alice 1 --timeout 5000)" status applied
sql "ALTER TABLE journal DROP CONSTRAINT hopeless, DROP CONSTRAINT poison"
until_true 60 "the last" eval '[[ $(pending) == 0 ]]'
expect "$(ctl get-transaction "$hopeless")" state executed
has carol 401 || fail "carol has $(balance carol)"
in_order carol
until_true 20 "nothing overdue" eval '[[ $(overdue worker) == 0 ]]'
process_end worker

echo "one that no worker survives ends unread"
sql "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
         IF NEW.scheduled IS NOT NULL AND NEW.key = 'deadly' AND NEW.result IS NULL THEN RAISE EXCEPTION 'no worker goes on after this'; END IF;
         RETURN NEW; END \$\$;
     CREATE TRIGGER die BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION die()"
supervise first & pids[first]=$!
due=$(in_seconds 3)
for i in 7 8 9; do ctl deposit alice 1 --key "good-$i" --not-before "$due" --timeout 60000 >/dev/null; done
deadly=$(field transaction "$(ctl deposit alice 1 --key deadly --not-before "$due" --timeout 60000)")
for i in 10 11 12; do ctl deposit alice 1 --key "good-$i" --not-before "$due" --timeout 60000 >/dev/null; done
until_true 60 "all of them" eval '[[ $(pending) == 0 ]]'
expect "$(ctl get-transaction "$deadly" --timeout 60000)" state refused error crashed_worker
has alice 1400 || fail "alice has $(balance alice)"
[[ $(wc -l <"$logs/deaths") == 4 ]] || fail "$(wc -l <"$logs/deaths") died"
until_true 10 "no note is left" eval '[[ $(sql "SELECT count(*) FROM suspect") == 0 ]]'
sql "DROP TRIGGER die ON journal"

# Some are accepted so late, when their turn has come: they are applied at once.
echo "killed again and again while they are due"
process_end first
export LEDGER_CRASH_LIMIT=100 # no command is to be blamed
supervise first & pids[first]=$!
supervise second & pids[second]=$!
until_true 20 "it works" has_logged second "took shard"
sql "SELECT 'k-' || n || ' ' || to_char((clock_timestamp() + interval '2 s' + n % 83 * interval '100 ms') AT TIME ZONE 'UTC',
     'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM generate_series(0, 299) AS n" >"$logs/times"
/usr/bin/python3 - "$LEDGER_PREFIX" "$logs/times" <<'PYTHON'
import json, os, sys
import pika
prefix, times = sys.argv[1:]
with pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"])) as connection:
    channel = connection.channel()
    channel.confirm_delivery()
    for key, due in map(str.split, open(times)):
        channel.basic_publish(f"{prefix}.commands", "bob", json.dumps({"account": "bob", "amount": 1, "not_before": due}),
            pika.BasicProperties(content_type="application/json", type="deposit", message_id=key, delivery_mode=2), mandatory=True)
PYTHON
deaths=$(wc -l <"$logs/deaths")
for ((i = 0; i < 20; i++)); do
    sleep 0.3
    kill_anew first
    sleep 0.1
    kill_anew second
done
until_true 10 "each kill was a death" have_died $((deaths + 40))
until_true 60 "all executed, each once" \
    eval '[[ $(sql "SELECT count(*), count(DISTINCT key) FROM journal WHERE key LIKE '\''k-%'\'' AND result IS NULL") == "300|300" ]]'
[[ $(pending) == 0 ]] || fail "$(pending) wait"
has bob 501 || fail "bob has $(balance bob)"
process_end second
process_end first

echo "10,000 at once, and the queue goes on"
process worker ledger-worker
until_true 20 "it works" has_logged worker "took shard"
due=$(in_seconds 15)
publish bob many 10000 "$due"
until_true 60 "all accepted" eval '[[ $(sql "SELECT count(*) FROM journal WHERE key LIKE '\''many-%'\'' AND result = '\''scheduled'\''") == 10000 ]]'
until_true 30 "the first executed" eval '(($(pending) < 10000))'
asked=0 slowest=0
while (($(pending) > 0)); do
    before=$(date +%s%N)
    expect "$(ctl deposit alice 1)" status applied
    took=$((($(date +%s%N) - before) / 1000000)); ((asked += 1)); ((took > slowest)) && slowest=$took
done
echo "$asked deposits from the queue meanwhile, the slowest in $slowest ms; all done in $(sql "SELECT round(extract(epoch FROM max(created_at) - '$due'), 1)
    FROM journal WHERE key LIKE 'many-%' AND scheduled IS NOT NULL") s"
# The last of them may have come when all was done; the one before was answered while others were due.
((asked >= 2 && slowest < 3000)) || fail "$asked asked, the slowest took $slowest ms"
[[ $(sql "SELECT max(n) <= 256 FROM (SELECT count(*) AS n FROM journal WHERE key LIKE 'many-%' AND scheduled IS NOT NULL GROUP BY created_at) AS part") == t ]] ||
    fail "more than 256 in one transaction"
in_order bob
has bob 10501 || fail "bob has $(balance bob)"
[[ $(queue_depth "$LEDGER_PREFIX.dlq") == 0 ]] || fail "something was dead-lettered"

process_end relay
process_end worker
"$bin/ledgerctl" verify
