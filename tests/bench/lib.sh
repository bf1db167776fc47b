#!/bin/bash
# What the scenarios of scripts/bench are made of: processes, figures, rounds, and the few things that are measured
# again and again. To be sourced.
# shellcheck disable=SC2034,SC2154 # shared with scripts/bench and scenarios.sh

declare -A processes=() server_pid=() used_before=()
worker_command=() # in front of the worker, the relay: env NAME=VALUE ...
relay_command=()

# --- processes

start_process() { # NAME PROGRAM ARGUMENTS...
    local name=$1; shift
    "$@" >"$logs/$name.out" 2>"$logs/$name.err" </dev/null &
    processes[$name]=$!
}
await_process() {
    local pid=${processes[$1]}
    unset "processes[$1]"
    wait "$pid" || { echo "bench: $1 failed:" >&2; tail -n 5 "$logs/$1.err" "$logs/$1.out" >&2; return 1; }
}
stop_process() {
    kill -TERM "${processes[$1]}"
    await_process "$1"
}
start_relay() {
    start_process relay env LEDGER_HTTP_PORT=0 LEDGER_HTTP_ADDRESS=127.0.0.1 "${relay_command[@]}" "$bin/ledger-relay"
}
start_worker() { # NAME
    start_process "$1" env LEDGER_HTTP_PORT=0 LEDGER_HTTP_ADDRESS=127.0.0.1 "${worker_command[@]}" "$bin/ledger-worker"
}
start_ledger() { start_relay; start_worker worker; }
stop_ledger() { stop_process worker; stop_process relay; }
# Until the shards are taken, by that worker or by any other.
await_shards() {
    local i
    for ((i = 0; i < 200; i++)); do
        (($(cat "$logs"/worker*.out | grep -c 'took shard') >= 8)) && return 0
        sleep 0.05
    done
    echo 'bench: no worker took the shards' >&2
    return 1
}
peak_mib() { awk '/^VmHWM/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"; }
now_mib() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"; }
end_all() {
    local pid
    for pid in "${processes[@]}"; do kill -CONT "$pid" 2>/dev/null || true; kill -TERM "$pid" 2>/dev/null || true; done
    wait
}

# --- figures: a line each, SCENARIO FIGURE VALUE; the n-th of a name is that of the n-th round

note() {
    echo "$scenario $1 $2" >>"$results"
    printf '  %4d s  %-12s %-28s %s\n' $((SECONDS - began)) "$scenario" "$1" "$2" >&2
}
note_quietly() { echo "$scenario $1 $2" >>"$results"; }
# NAME FILE: the value of name=value in a program's output.
value() { grep -oE "(^| )${1//./\\.}=[0-9.]+" "$2" | tail -n 1 | cut -d= -f2; }
# FILE NEW [OLD]: all quantiles of a program's output, as NEW_p50 and so on.
note_quantiles() {
    local name number
    while IFS='=' read -r name number; do
        case $name in p50|p99|max) note "$2_$name" "$number" ;; *) note_quietly "$2_$name" "$number" ;; esac
    done < <(grep -oE "(^| )${3:-}(p[0-9.]+|max)=[0-9]+" "$1" | sed -E "s/^ ?${3:-}//")
}
rate() { awk -v n="$1" -v from="$2" -v to="$3" 'BEGIN { printf "%.0f", n / ((to - from) / 1e6) }'; }
median_of() { # SCENARIO FIGURE
    awk -v s="$1" -v f="$2" '$1 == s && $2 == f { print $3 }' "$results" | sort -n |
        awk '{ v[NR] = $1 } END { if (NR) printf "%.0f", v[int((NR + 1) / 2)] }'
}

# --- rounds: as many as wanted, but no more than the scenario's seconds allow (one at the least)

begin_rounds() { # ROUNDS SECONDS
    round=0 rounds=${BENCH_ROUNDS:-$1} budget=$2 rounds_began=$SECONDS
}
more() {
    local used=$((SECONDS - rounds_began))
    ((round < rounds)) || return 1
    ((round == 0 || (used + used / round <= budget && SECONDS - began + used / round <= seconds_max))) || { echo "    (no time for more than $round of $rounds rounds)" >&2; return 1; }
    round=$((round + 1))
}

# --- what is measured again and again

load() { "$tools/load" "$@" >"$logs/load.out"; }
# When the first worker began to consume: connecting is not what is measured.
consuming_us() {
    local times
    times=$(cat "$logs"/worker*.out | grep 'took shard' | grep -oE '"time":"[^"]+' | cut -d'"' -f4 | sort)
    date -d "${times%%$'\n'*}" +%s%6N
}
# PID...: microseconds of processor time of them, of the first one's children that have ended, and of those that have not.
used_us() {
    local child
    for child in "$@" $(cat "/proc/$1/task/$1/children"); do cat "/proc/$child/stat" 2>/dev/null || true; done |
        awk -v tick="$(getconf CLK_TCK)" '{ sub(/^.*\) /, ""); n += $12 + $13 + (NR == 1 ? $14 + $15 : 0) }
            END { printf "%.0f", n * 1e6 / tick }'
}
# What each that is up has used until now; then FIGURE COUNT: what it has used since, a command.
# shellcheck disable=SC2086 # of some there are more than one
remember_used() {
    local name
    used_before=()
    for name in "${!server_pid[@]}"; do used_before[$name]=$(used_us ${server_pid[$name]}); done
    for name in "${!processes[@]}"; do used_before[$name]=$(used_us "${processes[$name]}"); done
}
# shellcheck disable=SC2086
note_used() {
    local name now
    for name in "${!server_pid[@]}" worker relay; do
        now=$(used_us ${server_pid[$name]:-${processes[$name]}})
        note_quietly "${1}_cpu_$name" "$(awk -v n="$2" -v used="$((now - ${used_before[$name]:-0}))" 'BEGIN { printf "%.1f", used / n }')"
    done
}
# FIGURE COUNT QUEUE=N...: from the worker's start to the last result of what waits in the shard queues.
take_results() {
    local figure=$1 count=$2; shift 2
    rm -f "$logs"/worker*.out
    start_process wait env BENCH_SAMPLES="$logs" "$tools/wait" "$@"
    sleep 0.3
    remember_used
    start_ledger
    await_process wait
    note_used "$figure" "$count"
    note_quietly worker_mib "$(peak_mib "${processes[worker]}")"
    note_quietly relay_mib "$(peak_mib "${processes[relay]}")"
    stop_ledger
    note "$figure" "$(rate "$count" "$(consuming_us)" "$(value last_us "$logs/wait.out")")"
}
# FIGURE COUNT [SHAPE]: a backlog of single commands, results as events to one queue, and as replies if the shape says so.
drain() {
    local figure=$1 count=$2 events queues; shift 2
    load publish "$count" "$@"
    events=$(value unique "$logs/load.out")
    [[ " $* " != *' --transfers '* ]] || events=$((2 * events))
    queues=("bench.ledger.events=$events")
    [[ " $* " != *' --reply '* ]] || queues+=("bench.replies=$count")
    take_results "$figure" "$count" "${queues[@]}"
}
# FIGURE COUNT SIZE: the same, SIZE commands in a message: one reply each.
drain_batches() {
    local messages=$(($2 / $3))
    load batch "$2" "$3" --reply
    take_results "$1" $((messages * $3)) "bench.ledger.events=$((messages * $3))" "bench.replies=$messages"
}
# FIGURE COUNT EVENTS REPLIES: as many messages with the ledger taken out, so many out for each one in.
pass() {
    local figure=$1 count=$2 events=$3 replies=$4 out=() shape=() queues=("bench.pass.events=$(($2 * $3))") i
    for ((i = 0; i < events; i++)); do out+=("event=$logs/sample.event$( ((replies == 0)) || echo .replied)"); done
    ((replies == 0)) || { shape=(--reply); out+=("reply=$logs/sample.reply"); queues+=("bench.replies=$count"); }
    LEDGER_PREFIX=pass load publish "$count" "${shape[@]}"
    start_process wait env "$tools/wait" "${queues[@]}"
    sleep 0.3
    start_process passthrough env LEDGER_PREFIX=pass "$tools/passthrough" "$count" "${out[@]}"
    await_process wait
    await_process passthrough
    note "$figure" "$(rate "$count" "$(value started_us "$logs/passthrough.out")" "$(value last_us "$logs/wait.out")")"
}
tpcb() { # CLIENTS
    pgbench -M prepared -c "$1" -j 2 -T "$tpcb_seconds" "$bench_database" >"$logs/pgbench.out" 2>&1
    note "tpcb_$1" "$(awk '/^tps = / { printf "%.0f", $3 }' "$logs/pgbench.out")"
}

# --- databases

sql() { psql -qXAt -v ON_ERROR_STOP=1 "$@"; }
# NAME: an empty ledger of its own; LEDGER_DATABASE_URL of whoever calls this with it.
database_url() { echo "${ledger_database%/*}/$1"; }
make_database() {
    sql "$ledger_database" -c "CREATE DATABASE $1"
    LEDGER_DATABASE_URL=$(database_url "$1") "$bin/ledgerctl" migrate >"$logs/migrate.out"
}
# Accounts opened and filled through the ledger itself, what became of it taken away.
open_accounts() { # N, in LEDGER_DATABASE_URL
    load open "$1"
    start_process wait "$tools/wait" "bench.ledger.events=$((2 * $1))"
    start_ledger
    await_process wait
    stop_ledger
}
