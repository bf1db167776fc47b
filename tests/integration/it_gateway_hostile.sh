#!/bin/bash
# What clients can do to the gateway, and to each other: nonsense, too much, hang up, be slow, be many. GATEWAY_IDLE=10000 for
# as many idle connections as it is meant for (then GATEWAY_LIMIT_S=30: how long they may stay).
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

ledger_begin gateway-hostile
export LEDGER_HTTP_IDLE_S=${GATEWAY_LIMIT_S:-10} LEDGER_HTTP_REQUEST_S=3
process relay ledger-relay
process worker ledger-worker
process gateway ledger-gateway
await_consuming worker
await_leading relay
until_true 20 "the gateway is connected" has_logged gateway 'connected to RabbitMQ'
LEDGER_GATEWAY_URL=http://127.0.0.1:$(grep -oE 'HTTP on port [0-9]+' "$logs/gateway.log" | grep -oE '[0-9]+')
export LEDGER_GATEWAY_URL
/usr/bin/python3 tests/integration/gateway_hostile.py "${pids[gateway]}" "${GATEWAY_IDLE:-1000}" || fail "gateway_hostile.py"
curl -s "$LEDGER_GATEWAY_URL/metrics" | grep -E '^ledger_http_(ended|hung_up)_total'
"$bin/ledgerctl" verify || fail "the books"
process_end gateway
process_end worker
process_end relay
