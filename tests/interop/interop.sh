#!/bin/bash
# The same conversation with the ledger from Python and from Node.js.
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

ledger_begin interop
process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
# Debian's own Python has the packages.
timeout 60 /usr/bin/python3 tests/interop/rpc.py || fail "the Python caller"
timeout 60 node tests/interop/rpc.mjs || fail "the Node.js caller"
process_end worker
process_end relay
"$bin/ledgerctl" verify
