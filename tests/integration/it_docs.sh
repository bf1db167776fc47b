#!/bin/bash
# What the docs show is what happens: the examples of docs/protocol.md, the lines of the README's tour.
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

ledger_begin docs
process relay ledger-relay
process worker ledger-worker
process gateway ledger-gateway
await_consuming worker
await_leading relay
LEDGER_HTTP_URL=http://127.0.0.1:$(grep -oE 'health on port [0-9]+' "$logs/worker.log" | tail -n 1 | grep -oE '[0-9]+')
until_true 20 "the gateway is connected" has_logged gateway 'connected to RabbitMQ'
LEDGER_GATEWAY_URL=http://127.0.0.1:$(grep -oE 'HTTP on port [0-9]+' "$logs/gateway.log" | grep -oE '[0-9]+')
export LEDGER_HTTP_URL LEDGER_GATEWAY_URL PATH=$bin:$PATH
/usr/bin/python3 tests/integration/docs.py || fail "docs.py"
"$bin/ledgerctl" verify
process_end gateway
process_end worker
process_end relay
