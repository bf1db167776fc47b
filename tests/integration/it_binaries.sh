#!/bin/bash
# Every program is built against those who find a hole in it: code at an address nobody knows (PIE), no table that can be written
# once it runs (full RELRO), canaries, libc's checked functions, a stack that is not executed, and marks for where jumps may land.
cd "$(dirname "$0")/../.." || exit 1
set -uo pipefail

bin=${LEDGER_BIN:-$PWD/build/gcc-release/bin}
bad=0 programs=0
holds() { # WHAT PATTERN TEXT
    grep -qE "$2" <<<"$3" || { echo "FAILED: ${program##*/}: $1"; bad=1; }
}
case $(uname -m) in
    x86_64) landing=endbr64 ;;
    aarch64) landing='\b(paciasp|bti)\b' ;;
    *) landing= ;;
esac

for program in "$bin"/ledger*; do
    programs=$((programs + 1))
    headers=$(readelf -Wh -l -d "$program") symbols=$(readelf -W --dyn-syms "$program")
    holds 'is no PIE' 'Type: +DYN' "$headers"
    holds 'has no RELRO' ' GNU_RELRO ' "$headers"
    holds 'binds its symbols one by one' '\(FLAGS(_1)?\).*(BIND_NOW|NOW)' "$headers"
    holds 'its stack may be executed' 'GNU_STACK .* RW +0x' "$headers"
    holds 'has no canaries' ' __stack_chk_fail' "$symbols"
    # What counts lines is not optimised, and so not checked.
    [[ $bin == *-cov/* ]] || holds 'calls none of the checked functions' ' __(mem|explicit_|v?snprintf|v?fprintf)[a-z]*_chk' "$symbols"
    [[ -z $landing ]] || [[ $(objdump -d --no-show-raw-insn "$program" | grep -cE "$landing") -gt 100 ]] ||
        { echo "FAILED: ${program##*/}: jumps may land anywhere"; bad=1; }
done

# And one that runs, waiting for servers: its capabilities are gone but for low ports, and none can be gained.
program=ledger-relay
LEDGER_HTTP_PORT=0 LEDGER_DATABASE_URL=postgresql://127.0.0.1:1/none LEDGER_AMQP_URL=amqp://127.0.0.1:1/ "$bin/ledger-relay" >/dev/null 2>&1 &
pid=$!
for ((i = 0; i < 100; i++)); do grep -q 'NoNewPrivs:.1' /proc/$pid/status && break; sleep 0.05; done
holds 'may gain privileges' 'NoNewPrivs:.1' "$(cat /proc/$pid/status)"
for set in CapInh CapPrm CapEff CapAmb; do
    holds "$set: it kept privileges" "$set:.0000000000000[04]00" "$(cat /proc/$pid/status)"
done
kill $pid && wait $pid || { echo "FAILED: it did not leave cleanly"; bad=1; }

((programs >= 8)) || { echo "FAILED: only $programs programs in $bin"; bad=1; }
((bad != 0)) || echo "$programs programs: PIE, RELRO, bound at once, canaries, checked functions, no executable stack, landing marks"
exit $bad
