#!/bin/bash
# What is not a command: answered precisely, kept as it came, and harmless.
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

ledger_begin malformed
process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
/usr/bin/python3 tests/integration/malformed.py "${pids[worker]}" || fail "malformed.py"
[[ $(sql "SELECT count(*) FROM journal") == 0 ]] || fail "the journal holds something"
process_end worker
process_end relay
