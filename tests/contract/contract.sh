#!/bin/bash
# Holds a running gateway to gateway/openapi.json: the document is sound, and every request and answer of contract.mjs
# is what it says. Prism stands between the two and judges.
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

[[ -d tests/contract/node_modules/@stoplight/prism-cli ]] || (cd tests/contract && npm ci --no-progress >/dev/null)
ledger_begin contract
process relay ledger-relay
process worker ledger-worker
LEDGER_REDIS_URL='' process gateway ledger-gateway # or the cache would answer when nobody does
await_consuming worker
await_leading relay
until_true 20 "the gateway is connected" has_logged gateway 'connected to RabbitMQ'
LEDGER_GATEWAY_URL=http://127.0.0.1:$(grep -oE 'HTTP on port [0-9]+' "$logs/gateway.log" | grep -oE '[0-9]+')
export LEDGER_GATEWAY_URL
[[ $(curl -s "$LEDGER_GATEWAY_URL/openapi.json" | sha256sum) == $(sha256sum <gateway/openapi.json) ]] ||
    fail "what is served is not gateway/openapi.json"
(cd tests/contract && node contract.mjs "$logs/prism.log") || fail "contract.mjs"
process_kill worker STOP # nobody answers
(cd tests/contract && node contract.mjs "$logs/prism.log" unanswered) || fail "contract.mjs unanswered"
process_kill worker CONT
process_end gateway
process_end worker
process_end relay
