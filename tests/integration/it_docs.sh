#!/bin/bash
# What the docs show is what happens: the examples of docs/protocol.md, the lines of the README's tour.
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

ledger_begin docs
process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
LEDGER_HTTP_URL=http://127.0.0.1:$(grep -oE 'health on port [0-9]+' "$logs/worker.log" | tail -n 1 | grep -oE '[0-9]+')
export LEDGER_HTTP_URL PATH=$bin:$PATH
/usr/bin/python3 tests/integration/docs.py || fail "docs.py"
"$bin/ledgerctl" verify
process_end worker
process_end relay
