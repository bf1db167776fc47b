#!/bin/bash
# Reads a second of users through the gateway, from the cache and past it, side by side. Needs wrk, and the servers whose
# addresses are in the environment. SECONDS_EACH (8), CONNECTIONS (64), USERS (200).
#
#   scripts/servers start test && source .run/test.env && tests/bench/cached.sh
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

users=${USERS:-200}
gateway() { # NAME REDIS: starts one, sets http
    LEDGER_REDIS_URL=$2 process "$1" ledger-gateway
    until_true 15 "$1 listens" has_logged "$1" 'HTTP on port'
    http=http://127.0.0.1:$(grep -oE 'HTTP on port [0-9]+' "$logs/$1.log" | grep -oE '[0-9]+')
}
load() { wrk -t 2 -c "${CONNECTIONS:-64}" -d "${SECONDS_EACH:-8}" --latency -s "$logs/users.lua" "$http" | tee "$logs/$1.wrk" | sed 's/^/    /'; }
rate() { sed -n 's/^Requests\/sec: *//p' "$logs/$1.wrk"; }
metric() { curl -sS "$http/metrics" | awk -v series="$1" '$1 == series { print $2 }'; }

ledger_begin bench-cached
process relay ledger-relay
process one ledger-worker
await_consuming one
await_leading relay
gateway cached "$LEDGER_REDIS_URL"
with=$http
gateway past ''
past=$http
cat >"$logs/users.lua" <<END
local n = 0
request = function() n = n + 7; return wrk.format("GET", "/users/u" .. (n % $users)) end
END
for ((i = 0; i < users; i++)); do
    curl -sS --json "{\"account\":\"a$i\",\"user_id\":\"u$i\",\"asset\":\"EUR\",\"name\":\"User $i\"}" -H "Idempotency-Key: o$i" "$http/accounts" >/dev/null
done
http=$past
echo "past the cache"
load past
http=$with
until_true 15 "the cache is up" eval '[[ $(metric ledger_cache_up) == 1 ]]'
echo "from the cache"
load cached
for result in hit miss shared off; do echo "    $result $(metric "ledger_cache_reads_total{kind=\"user\",result=\"$result\"}")"; done
awk -v with="$(rate cached)" -v past="$(rate past)" 'BEGIN { printf "cached %.0f, past the cache %.0f reads a second: %.1f times\n", with, past, with / past; exit with < 10 * past }'
