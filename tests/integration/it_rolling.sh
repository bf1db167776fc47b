#!/bin/bash
# A rolling restart of everything under load, in a Deployment's order of events: the new process is ready before the old one
# gets SIGTERM, one at a time, all kinds side by side. Every call is answered, in time, once; every repeat has its mark.
# ROLLING_SECONDS=n goes on for longer (at least two rounds of every process).
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh
ledger_begin rolling
export LEDGER_EVENT_FORMAT=json

openssl genpkey -algorithm ed25519 -out "$logs/key.pem" 2>/dev/null
kinds=(worker relay notary gateway)
declare -A replicas=([worker]=3 [relay]=2 [notary]=2 [gateway]=2 [webhooks]=2) generation=() ports=()
[[ ! -x $bin/ledger-webhooks ]] || kinds+=(webhooks)

start() { # KIND SLOT: the next generation of it, ready
    local kind=$1 name=$1-$2-${generation[$1-$2]:=0} port
    LEDGER_SIGNING_KEY_FILE=$([[ $kind != notary ]] || echo "$logs/key.pem") process "$name" "ledger-$kind"
    until_true 20 "$name listens" has_logged "$name" 'on port'
    port=$(grep -oE 'on port [0-9]+' "$logs/$name.log" | head -n 1 | cut -d ' ' -f 3)
    until_true 20 "$name is ready" curl -fsS -m 2 "http://127.0.0.1:$port/health/ready"
    ports[$1-$2]=$port
}
endpoints() { # what the Service sends to: each ready gateway that was not told to go
    local slot
    for ((slot = 0; slot < replicas[gateway]; slot++)); do echo "${ports[gateway-$slot]:-}"; done >"$logs/endpoints.new"
    mv "$logs/endpoints.new" "$logs/endpoints"
}
roll() { # KIND SLOT: maxSurge 1, maxUnavailable 0
    local old=$1-$2-${generation[$1-$2]}
    generation[$1-$2]=$((generation[$1-$2] + 1))
    start "$1" "$2"
    # preStop: its address goes before it does.
    [[ $1 != gateway ]] || { endpoints; sleep 0.5; }
    process_end "$old" 20
    restarts=$((restarts + 1))
}

for kind in "${kinds[@]}"; do for ((slot = 0; slot < replicas[$kind]; slot++)); do start "$kind" $slot; done; done
endpoints
restarts=0
/usr/bin/python3 tests/integration/rolling.py "$logs/stop" "$logs/endpoints" >"$logs/callers.log" 2>&1 &
callers=$!
pids[callers]=$callers
until_true 20 "the callers call" grep -q calling "$logs/callers.log"

SECONDS=0
for ((round = 1; round <= 2 || SECONDS < ${ROLLING_SECONDS:-0}; round++)); do
    for ((slot = 0; slot < 3; slot++)); do
        for kind in "${kinds[@]}"; do ((slot >= replicas[$kind])) || roll "$kind" $slot; done
    done
done
took=$SECONDS
touch "$logs/stop"
wait $callers || { tail -n 20 "$logs/callers.log" >&2; fail "the callers are not content"; }
unset 'pids[callers]'
cat "$logs/callers.log"
echo "$restarts processes replaced in $took s, in $((round - 1)) rounds"
"$bin/ledgerctl" verify
for name in "${!pids[@]}"; do process_end "$name" 20; done
