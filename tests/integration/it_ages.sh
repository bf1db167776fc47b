#!/bin/bash
# The three ages that alerts ask for: of the oldest command without an outcome, of the oldest outcome that is not
# published, and of the oldest dead letter; while all is well, and while PostgreSQL or RabbitMQ hold things up.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh
export LEDGER_DEAD_WATCH_S=1

UNANSWERED=ledger_oldest_unanswered_seconds
UNPUBLISHED='ledger_outbox_oldest_unpublished_seconds{publisher="amqp"}'
LETTERS=ledger_dead_letters
OLDEST_LETTER=ledger_dead_letter_oldest_seconds

http_port() { grep -oE 'health on port [0-9]+' "$logs/$1.log" | tail -n 1 | grep -oE '[0-9]+'; }
metrics() { curl -sf "http://127.0.0.1:$(http_port "$1")/metrics"; }
metric() { metrics "$1" | awk -v name="$2" '$1 == name { print $2 }'; }
within() { # PROCESS METRIC LEAST MOST
    metric "$1" "$2" | awk -v least="$3" -v most="$4" '{ found = $1 >= least && $1 <= most } END { exit !found }'
}
await() { until_true "$1" "$3 of $2 from $4 to $5" within "${@:2}"; }
now() { within "$@" || fail "$2 of $1 is $(metric "$1" "$2"), not $3 to $4"; }
memory() { "$servers" rabbitmqctl "$instance" -q set_vm_memory_high_watermark "$1"; }
# As the worker inserts it, in a transaction of its own.
ROW="INSERT INTO ledger.outbox (slot, kind, destination, properties, body)
     SELECT slot, 0, 'transaction.created', decode('0000', 'hex'), '' FROM ledger.outbox_rotation;"
add_row() { sql "$ROW"; }
amqp() { /usr/bin/python3 -c "
import os, sys, time, datetime, pika
prefix = os.environ['LEDGER_PREFIX']
connection = pika.BlockingConnection(pika.URLParameters(os.environ['LEDGER_AMQP_URL']))
channel = connection.channel()
channel.confirm_delivery()
def letter(name, hours):
    died = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)).strftime('%Y-%m-%dT%H:%M:%SZ')
    channel.basic_publish('', prefix + '.dlq', b'x' * 200000, pika.BasicProperties(
        message_id=name, delivery_mode=2, headers={'x-ledger-last-death': died}))
def command(body, **properties):
    channel.basic_publish(prefix + '.commands', 'alice', body, pika.BasicProperties(
        content_type='application/json', delivery_mode=2, **properties), mandatory=True)
$1
connection.close()"; }

at_end() { # whatever has failed: the servers are for the next test too
    "$servers" signal "$instance" rabbitmq CONT
    memory 0.4
}

ledger_begin ages
process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
expect "$(ctl open-account alice --user alice --asset EUR)" status applied

echo "nothing waits"
await 10 worker $UNANSWERED 0 0
await 10 relay "$UNPUBLISHED" 0 0
await 10 relay $LETTERS 0 0
now relay $OLDEST_LETTER 0 0

echo "a command that has waited, while PostgreSQL is away"
"$servers" stop "$instance" postgres
until_true 10 "it has noticed" has_logged worker 'will try again'
now worker $UNANSWERED 0 5 # nothing has come
amqp "command(b'{\"account\":\"alice\",\"amount\":1}', type='deposit', message_id='one', timestamp=int(time.time()) - 100)"
await 10 worker $UNANSWERED 100 115
first=$(metric worker $UNANSWERED)
sleep 2
now worker $UNANSWERED "$(awk -v a="$first" 'BEGIN { print a + 1.5 }')" 125
await 5 relay "$UNPUBLISHED" 1 60 # who cannot look cannot say that there is nothing
"$servers" start "$instance" postgres
await 20 worker $UNANSWERED 0 0
await 20 relay "$UNPUBLISHED" 0 0
expect "$(ctl get-balance alice)" balance 1

echo "rows that the broker does not take: a memory alarm"
memory 0
until_true 10 "blocked" eval 'add_row; within relay ledger_relay_blocked 1 1'
add_row # the broker has taken the one by which it noticed
await 10 relay "$UNPUBLISHED" 2 12
memory 0.4
await 20 relay "$UNPUBLISHED" 0 0

echo "nobody leads for a while, and who comes then cannot publish"
process_kill relay KILL
for ((i = 0; i < 2000; i++)); do echo "$ROW"; done | psql -X -q -1 "$LEDGER_DATABASE_URL" # more than a window
memory 0
sleep 4
process second ledger-relay
await_leading second
until_true 10 "blocked" within second ledger_relay_blocked 1 1
await 5 second "$UNPUBLISHED" 4 30
memory 0.4
await 20 second "$UNPUBLISHED" 0 0

echo "no broker: with nothing to publish, then with a row"
sleep 1 # the cursor is saved: else what was confirmed last would be sent once more
"$servers" stop "$instance" rabbitmq
until_true 10 "it has noticed" has_logged second 'will try again'
sleep 4
await 10 second "$UNPUBLISHED" 0 0
add_row
await 15 second "$UNPUBLISHED" 2 20
"$servers" start "$instance" rabbitmq
await 60 second "$UNPUBLISHED" 0 0

echo "traffic without a pause is not age"
for writer in 1 2; do
    (for ((i = 0; i < 4000; i++)); do echo "$ROW"; done) |
        psql -X -q "$LEDGER_DATABASE_URL" & pids[writer$writer]=$!
done
while kill -0 "${pids[writer1]}" 2>/dev/null; do now second "$UNPUBLISHED" 0 2; sleep 0.2; done
wait "${pids[writer1]}" "${pids[writer2]}"
unset "pids[writer1]" "pids[writer2]"
await 20 second "$UNPUBLISHED" 0 0

echo "dead letters: what the ledger gave up"
await 60 worker ledger_shards_owned "$LEDGER_SHARDS" "$LEDGER_SHARDS"
amqp "command(b'{}', type='deposit')" # no key
await 20 second $LETTERS 1 1
now second $OLDEST_LETTER 0 10
sleep 2
await 5 second $OLDEST_LETTER 2 20

echo "the head is the oldest, whatever comes behind it; looking leaves them as they were"
amqp "channel.queue_purge(prefix + '.dlq'); letter('a', 2); letter('b', 5); letter('c', 0)"
await 10 second $LETTERS 3 3
await 10 second $OLDEST_LETTER 7200 7230
sleep 3

echo "while somebody else goes through them, the count stands and the age grows"
psql -X -q "$LEDGER_DATABASE_URL" -c "SELECT pg_advisory_lock(hashtext('$LEDGER_PREFIX.dlq') # 3, 0), pg_sleep(60)" >/dev/null 2>&1 & pids[operator]=$!
until_true 10 "it has the turn" eval '[[ $(sql "SELECT count(*) FROM pg_stat_activity WHERE wait_event = '\''PgSleep'\''") == 1 ]]'
first=$(metric second $OLDEST_LETTER)
amqp "
names = [channel.basic_get(prefix + '.dlq')[1].message_id for _ in range(3)]
assert names == ['a', 'b', 'c'], names
time.sleep(4)"
now second $LETTERS 3 3
now second $OLDEST_LETTER "$(awk -v a="$first" 'BEGIN { print a + 2 }')" 7260
sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'" >/dev/null
wait "${pids[operator]}" || true
unset "pids[operator]"
amqp "channel.queue_purge(prefix + '.dlq')"
await 10 second $LETTERS 0 0
now second $OLDEST_LETTER 0 0

echo "what the broker gave up, seen by one that was not there then"
process_end worker
amqp "command(b'{}', type='deposit', message_id='late', expiration='1')"
await 30 second $LETTERS 1 1
sleep 4
process third ledger-relay
await 10 third $OLDEST_LETTER 4 60
LEDGER_DEAD_WATCH_S=0 process fourth ledger-relay
until_true 10 "the fourth listens" eval 'metrics fourth >/dev/null'
[[ -z $(metric fourth $LETTERS) ]] || fail "it was told not to look"

echo "a broker that does not answer holds nobody up"
process_end second
process_end fourth
"$servers" signal "$instance" rabbitmq STOP
until_true 10 "it cannot count" has_logged third 'not counted'
sleep 1.5 # it tries again
begun=$EPOCHREALTIME
process_end third 4
awk -v from="$begun" -v to="$EPOCHREALTIME" 'BEGIN { printf "  it left after %.1f s\n", to - from }'
