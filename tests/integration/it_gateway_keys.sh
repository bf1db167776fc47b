#!/bin/bash
# 200 clients repeat 1,000 keys over HTTP while a worker is killed, the gateway replaced, Redis and RabbitMQ restarted: each key
# has one effect, and every answer to it is the same. GATEWAY_SECONDS=60 for longer.
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

ledger_begin gateway-keys
export LEDGER_HTTP_REPLY_TIMEOUT_MS=3000
process relay ledger-relay
process worker ledger-worker
process gateway ledger-gateway
await_consuming worker
await_leading relay
until_true 20 "the gateway is connected" has_logged gateway 'connected to RabbitMQ'
port=$(grep -oE 'HTTP on port [0-9]+' "$logs/gateway.log" | grep -oE '[0-9]+')
export LEDGER_GATEWAY_URL=http://127.0.0.1:$port
/usr/bin/python3 tests/integration/gateway_keys.py 200 1000 "${GATEWAY_SECONDS:-8}" >"$logs/keys.log" 2>&1 & keys=$!
until_true 20 "the clients have begun" has_logged keys begun
sleep 2
process_kill worker KILL
process worker ledger-worker
sleep 1
"$servers" restart "$instance" redis
process_end gateway
LEDGER_HTTP_PORT=$port process gateway ledger-gateway
sleep 1
"$servers" restart "$instance" rabbitmq
wait $keys || { cat "$logs/keys.log"; fail "the answers"; }
cat "$logs/keys.log"
"$bin/ledgerctl" verify || fail "the books"
process_end gateway
process_end worker
process_end relay
