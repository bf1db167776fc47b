#!/bin/bash
# After a restore into another PostgreSQL `ledgerctl rebase` gives each row of the outbox its place anew. However long
# that takes: here it waits for a row longer than any other verb would.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh
ledger_begin rebase

sql "INSERT INTO outbox (slot, kind, destination, properties, body) SELECT slot, 0, 'transaction.created', '\\x0000', '' FROM outbox_rotation"
sql "UPDATE outbox SET xid = '900000000'"
psql -X -q "$LEDGER_DATABASE_URL" -c "SET application_name = holder" -c "BEGIN" -c "SELECT FROM ledger.outbox FOR UPDATE" -c "SELECT pg_sleep(7)" >/dev/null &
until_true 20 "the row is held" eval '[[ $(sql "SELECT count(*) FROM pg_stat_activity WHERE application_name = '\''holder'\'' AND query LIKE '\''%sleep%'\''") == 1 ]]'
SECONDS=0
"$bin/ledgerctl" rebase amqp --from-start >"$logs/rebase.log" 2>&1 || fail "after $SECONDS s: $(cat "$logs/rebase.log")"
((SECONDS >= 5)) || fail "it did not wait for the row"
wait
[[ $(sql "SELECT count(*) FROM outbox WHERE xid < '900000000'") == 1 ]] || fail "the row is where it was"
process relay ledger-relay
await_leading relay
port=$(grep -oE 'health on port [0-9]+' "$logs/relay.log" | grep -oE '[0-9]+')
published() { curl -s "http://127.0.0.1:$port/metrics" | grep -q '^ledger_outbox_published_total{.*result="confirmed"} 1$'; }
until_true 20 "the event is published" published
process_end relay
