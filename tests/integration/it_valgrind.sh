#!/bin/bash
# Worker, relay and client under valgrind: no invalid access, nothing lost, over every kind of command, a fault, a lost
# Redis and a clean way out.
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

ledger_begin valgrind
wrapper=(valgrind --quiet --error-exitcode=9 --leak-check=full "--errors-for-leak-kinds=definite,indirect")
# Valgrind is some thirty times slower.
export LEDGER_TIMEOUT_MS=20000 LEDGER_HEARTBEAT_S=60
process relay ledger-relay
process worker ledger-worker
until_true 60 "the worker consumes" has_logged worker 'took shard'
until_true 60 "the relay leads" has_logged relay leading
call() { "${wrapper[@]}" "$bin/ledgerctl" --output json --timeout 60000 "$@" 2>>"$logs/client.log" || [[ $? != 9 ]] || fail "the client: $logs/client.log"; }
expect "$(call open-account alice --user alice --name Alice --asset EUR --metadata '{"tags":["a",1]}')" status applied
expect "$(call open-account bob --user alice --asset EUR)" status applied
deposited=$(call deposit alice 10 --key one)
expect "$deposited" status applied
expect "$(call deposit alice 10 --key one)" replayed true
expect "$(call deposit alice 11 --key one)" status conflict
expect "$(call transfer alice bob 2.50)" status applied
expect "$(call withdraw bob 100)" error insufficient_funds
expect "$(call get-user alice)" status applied
expect "$(call get-account bob)" status applied
expect "$(call get-balance world:EUR)" status applied
expect "$(call get-transaction "$(field transaction "$deposited")")" status applied
"$servers" stop "$instance" redis
expect "$(call deposit alice 10 --key one)" replayed true
"$servers" start "$instance" redis
process_end worker 30
process_end relay 30
"${wrapper[@]}" "$bin/ledgerctl" verify
