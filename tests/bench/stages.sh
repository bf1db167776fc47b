#!/bin/bash
# The scenario `stages` of scripts/bench: where the time of a command goes. To be sourced.
# shellcheck disable=SC2034,SC2154 # shared with scripts/bench and lib.sh

scenario_stages() {
    local name
    if ! perf record -q -e cpu-clock -g -o "$logs/perf.probe" true 2>"$logs/perf.err"; then
        echo 'bench: stages is left out: there is no perf here, or it may not take samples' >&2
        return 0
    fi
    stage_times
    count_allocations
    for name in worker relay; do
        note_stages allocations $name "$bin/ledger-$name" $((small - small / 3)) \
            "$logs/allocations.$name.$((small / 3))" "$logs/allocations.$name.$small"
    done
}
note_stages() { # as tests/bench/stages.py takes it
    local figure value
    python3 tests/bench/stages.py "$@" >"$logs/stages.out"
    while read -r figure value; do note_quietly "$figure" "$value"; done <"$logs/stages.out"
}

# The worker stands still until all of the backlog and perf are there. What PostgreSQL says of each statement, which is
# the processor time and not how long it took, it says of these connections alone.
stage_times() {
    local log name began_us log_size
    log=$(dirname "$(sql "$ledger_database" -c 'SHOW data_directory')")/postgres.log
    worker_command=("LEDGER_DATABASE_URL=$ledger_database?options=$(printf -- '-c%%20%s%%3D%s%%20' \
        log_statement_stats on log_min_duration_statement 0 log_parameter_max_length 0)")
    relay_command=("${worker_command[@]}")
    rm -f "$logs"/worker*.out
    start_ledger
    await_shards
    kill -STOP "${processes[worker]}"
    load publish "$commands"
    start_process wait "$tools/wait" "bench.ledger.events=$commands"
    for name in worker relay; do
        start_process "perf_$name" perf record -q -e cpu-clock -F 1999 --call-graph dwarf,16384 -o "$logs/perf.$name" -p "${processes[$name]}"
    done
    sleep 1
    server_pid[connections]=$(sql "$ledger_database" -c "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity
        WHERE application_name LIKE 'ledger-%'")
    remember_used
    log_size=$(stat -c %s "$log") began_us=$(date +%s%6N)
    kill -CONT "${processes[worker]}"
    await_process wait
    note_used all "$commands"
    unset 'server_pid[connections]'
    tail -c +$((log_size + 1)) "$log" >"$logs/statements.log"
    note rate "$(rate "$commands" "$began_us" "$(value last_us "$logs/wait.out")")"
    stop_ledger
    worker_command=() relay_command=()
    for name in worker relay; do
        await_process "perf_$name" # it ends with the process
        perf script --no-inline -F ip,sym -i "$logs/perf.$name" >"$logs/perf.$name.txt" 2>"$logs/perf.err"
        note_stages samples $name "$(noted "all_cpu_$name")" <"$logs/perf.$name.txt"
        rm "$logs/perf.$name"
    done
    note_stages statements "$(noted all_cpu_postgres)" "$(noted all_cpu_connections)" "$commands" <"$logs/statements.log"
}
noted() { awk -v s="$scenario" -v f="$1" '$1 == s && $2 == f { v = $3 } END { print v }' "$results"; }
