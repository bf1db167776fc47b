#!/bin/bash
# Reads a second of users through three gateways, in turns: past the cache, from Redis, and as it comes (from memory and
# Redis). Needs wrk, and the servers whose addresses are in the environment. ROUNDS (3), SECONDS_EACH (5), CONNECTIONS (64),
# USERS (200). Fails when the median of the rounds' ratios is under 10.
#
#   scripts/servers start test && source .run/test.env && tests/bench/cached.sh
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

users=${USERS:-200}
declare -A address=()
gateway() { # NAME REDIS NEAR: starts one
    LEDGER_REDIS_URL=$2 LEDGER_CACHE_NEAR=$3 process "$1" ledger-gateway
    until_true 15 "$1 listens" has_logged "$1" 'HTTP on port'
    address[$1]=http://127.0.0.1:$(grep -oE 'HTTP on port [0-9]+' "$logs/$1.log" | grep -oE '[0-9]+')
}
metric() { curl -sS "${address[$1]}/metrics" | awk -v series="$2" '$1 == series { print $2 }'; }
ticks() { awk '{ print $14 + $15 }' "/proc/${pids[$1]}/stat"; }
load() { # NAME: sets rate, and says what one read cost the gateway
    local before; before=$(ticks "$1")
    wrk -t 2 -c "${CONNECTIONS:-64}" -d "${SECONDS_EACH:-5}" --latency -s "$logs/users.lua" "${address[$1]}" >"$logs/$1.wrk"
    rate=$(sed -n 's/^Requests\/sec: *//p' "$logs/$1.wrk")
    grep -E '^ *(Non-2xx|Socket errors)' "$logs/$1.wrk" && fail "not all reads of $1 were answered"
    awk -v name="$1" -v rate="$rate" -v ticks=$(($(ticks "$1") - before)) -v hz="$(getconf CLK_TCK)" '
        $1 == "99%" { p99 = $2 } /requests in/ { count = $1 }
        END { printf "    %-8s %8.0f reads a second, p99 %-9s %6.1f us of the gateway each\n", name, rate, p99, 1e6 * ticks / hz / count }' "$logs/$1.wrk"
}

ledger_begin bench-cached
process relay ledger-relay
process one ledger-worker
await_consuming one
await_leading relay
gateway past '' 0
gateway redis "$LEDGER_REDIS_URL" 0
gateway cached "$LEDGER_REDIS_URL" 4096
# Made beforehand: what makes requests runs on the same processors.
cat >"$logs/users.lua" <<END
local n, all = 0, {}
init = function() for i = 0, $users - 1 do all[i] = wrk.format("GET", "/users/u" .. i) end end
request = function() n = n + 7; return all[n % $users] end
END
for ((i = 0; i < users; i++)); do
    curl -sS --json "{\"account\":\"a$i\",\"user_id\":\"u$i\",\"asset\":\"EUR\",\"name\":\"User $i\"}" -H "Idempotency-Key: o$i" "${address[past]}/accounts" >/dev/null
done
for name in redis cached; do until_true 15 "the cache of $name is up" eval '[[ $(metric $name ledger_cache_up) == 1 ]]'; done
for ((round = 1; round <= ${ROUNDS:-3}; round++)); do
    echo "round $round"
    load past; past=$rate
    load redis; redis=$rate
    load cached
    echo "$past $redis $rate" >>"$logs/rounds"
done
for result in near hit miss shared off; do echo "    $result $(metric cached "ledger_cache_reads_total{kind=\"user\",result=\"$result\"}")"; done
python3 - "$logs/rounds" <<'END'
import statistics, sys
rounds = [[float(rate) for rate in line.split()] for line in open(sys.argv[1], encoding="ascii")]
past, redis, cached = (statistics.median(column) for column in zip(*rounds))
from_redis = statistics.median(row[1] / row[0] for row in rounds)
ratio = statistics.median(row[2] / row[0] for row in rounds)
print(f"past the cache {past:.0f}, from Redis {redis:.0f} ({from_redis:.1f} times), cached {cached:.0f} reads a second: {ratio:.1f} times")
sys.exit(ratio < 10)
END
