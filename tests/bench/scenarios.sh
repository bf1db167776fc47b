#!/bin/bash
# The scenarios of scripts/bench, a function each; docs/performance.md says what they are. Where a figure has a
# reference, the two take turns. To be sourced.
# shellcheck disable=SC2034,SC2154 # shared with scripts/bench and lib.sh

small=$((commands * 3 / 5)) # of what is repeated often

scenario_drain() {
    local clients=(8 32 1) from count
    from=$(sql "$ledger_database" -c 'SELECT pg_current_wal_lsn()') count=$(rows_kept)
    drain first "$commands"
    note wal_bytes "$(sql "$ledger_database" -c "SELECT round((pg_current_wal_lsn() - '$from') / ($(rows_kept) - $count))")"
    note journal_bytes "$(sql "$ledger_database" -c "SELECT pg_total_relation_size('ledger.journal') / $(rows_kept)")"
    note outbox_bytes "$(sql "$ledger_database" -c "SELECT round(sum(pg_total_relation_size(relid)) / (SELECT count(*) FROM ledger.outbox))
        FROM pg_partition_tree('ledger.outbox') WHERE isleaf")"
    pgbench -i -s 10 -q "$bench_database" >"$logs/pgbench-init.out" 2>&1
    begin_rounds "$repeats" 110
    while more; do
        drain events "$commands"
        pass pass "$commands" 1 0
        tpcb "${clients[round % 3]}"
    done
}

scenario_replies() {
    begin_rounds "$repeats" 80
    while more; do
        drain events_replies "$commands" --reply
        pass pass "$commands" 1 1
    done
}

rows_kept() { sql "$ledger_database" -c 'SELECT count(*) FROM ledger.journal'; }

# The median of the drains, of those with replies if it is told so; or one for this purpose.
drain_rate() { # [--reply]
    local known of=(drain events)
    (($# == 0)) || of=(replies events_replies)
    known=$(median_of "${of[@]}")
    if [[ -z $known ]]; then
        drain "${of[1]}" "$small" "$@"
        known=$(median_of "$scenario" "${of[1]}")
    fi
    echo "$known"
}

# The pass-through gets the same load: what of the latency is the broker's.
scenario_load() {
    local full percent
    full=$(drain_rate)
    begin_rounds 2 100
    while more; do
        rm -f "$logs"/worker*.out
        start_ledger
        await_shards
        for percent in 25 50 75; do
            sustain "ledger_$percent" ledger $((full * percent / 100)) "${BENCH_LOAD_SECONDS:-6}"
        done
        stop_ledger
        start_process passthrough env LEDGER_PREFIX=pass "$tools/passthrough" forward "event=$logs/sample.event"
        sleep 0.5
        for percent in 25 50 75; do
            sustain "pass_$percent" pass $((full * percent / 100)) "${BENCH_LOAD_SECONDS:-6}"
        done
        stop_process passthrough
    done
}
sustain() { # FIGURE PREFIX RATE SECONDS
    LEDGER_PREFIX=$2 "$tools/sustain" "$3" "$4" >"$logs/sustain.out"
    note_quietly "$1_wanted" "$3"
    note "$1_rate" "$(value rate "$logs/sustain.out")"
    note_quantiles "$logs/sustain.out" "$1"
}

# Once while a durable queue takes every event, whose writes the next request waits behind, and then while nobody
# listens, as nobody listens to what the echo did: that is what is held against the echo.
scenario_rpc() {
    local half half_replies calls=${BENCH_CALLS:-2000}
    half=$(($(drain_rate) / 2)) half_replies=$(($(drain_rate --reply) / 2))
    rm -f "$logs"/worker*.out
    start_ledger
    start_process echo env LEDGER_PREFIX=echo BENCH_DATABASE_URL="$bench_database" "$tools/echo"
    await_shards
    sleep 0.5
    "$tools/rpc" $((calls / 4)) >"$logs/rpc.out"
    note_quantiles "$logs/rpc.out" listened ledger_
    "$tools/wait" "bench.ledger.events=$(value calls "$logs/rpc.out")" >"$logs/wait.out"
    scripts/servers rabbitmqctl bench --quiet delete_queue bench.ledger.events >"$logs/delete.out"
    begin_rounds 3 100
    while more; do
        "$tools/rpc" $((calls / 2)) >"$logs/rpc.out"
        note_quantiles "$logs/rpc.out" ledger ledger_
        note_quantiles "$logs/rpc.out" echo echo_
        call_together callers_quarter $((half / 2))
        call_together callers_replies "$half_replies"
        call_together callers "$half"
    done
    stop_process echo
    stop_ledger
    start_process echo env LEDGER_PREFIX=echo "$tools/echo"
    LEDGER_PREFIX="echo" call_together broker_callers_quarter $((half / 2))
    LEDGER_PREFIX="echo" call_together broker_callers_replies "$half_replies"
    LEDGER_PREFIX="echo" call_together broker_callers "$half"
    stop_process echo
    "$tools/load" topology
}
call_together() { # FIGURE RATE
    "$tools/callers" 64 "$2" 5 >"$logs/callers.out"
    note "$1_rate" "$(value rate "$logs/callers.out")"
    note_quantiles "$logs/callers.out" "$1"
}

# One reply for a message; its events in one message, or a few when they are long.
scenario_batch() {
    local size
    begin_rounds 3 90
    while more; do
        for size in 10 100 1000; do
            drain_batches "size_$size" "$commands" $size
            note_quietly "messages_$size" "$(value messages "$logs/wait.out")"
        done
        pass pass "$commands" 1 0
    done
}

scenario_accounts() {
    local spread
    begin_rounds 3 75
    while more; do for spread in uniform hot zipf; do drain $spread "$small" --spread $spread; done; done
}

# Two events each.
scenario_transfers() {
    begin_rounds 3 50
    while more; do
        drain transfers "$small" --transfers
        pass pass "$small" 2 0
    done
}

# Three in ten messages repeat one that came before; every message has its reply.
scenario_repeats() {
    begin_rounds 3 90
    while more; do
        drain unique "$small" --reply
        drain repeated "$small" --reply --repeats 30
        worker_command=(LEDGER_REDIS_URL=)
        drain repeated_no_redis "$small" --reply --repeats 30 # beside the one that it is held against
        drain unique_no_redis "$small" --reply
        worker_command=()
    done
}

# They have shared out the shards before the load comes, and stand still until all of it is there.
with_workers() { # FIGURE COUNT WORKERS COMMANDS...: the last ones load
    local figure=$1 count=$2 number=$3 i started; shift 3
    rm -f "$logs"/worker*.out
    start_relay
    for ((i = 1; i <= number; i++)); do start_worker "worker$i"; done
    await_shards
    ((number == 1)) || sleep 2.5
    for ((i = 1; i <= number; i++)); do kill -STOP "${processes[worker$i]}"; done
    "$@"
    start_process wait "$tools/wait" "bench.ledger.events=$count"
    sleep 0.3
    started=$(date +%s%6N)
    for ((i = 1; i <= number; i++)); do kill -CONT "${processes[worker$i]}"; done
    await_process wait
    for ((i = 1; i <= number; i++)); do stop_process "worker$i"; done
    stop_process relay
    note "$figure" "$(rate "$count" "$started" "$(value last_us "$logs/wait.out")")"
}
# Single commands go by their account, so two workers never meet on one. Batches go by their key: there they do.
scenario_workers() {
    local number before
    before=$(deadlocks)
    begin_rounds 3 110
    while more; do
        for number in 1 2 4; do with_workers "disjoint_$number" "$small" $number load publish "$small"; done
        for number in 1 2; do with_workers "shared_$number" $((small / 100 * 100)) $number load batch "$small" 100; done
    done
    note deadlocks $(($(deadlocks) - before))
}
deadlocks() { sql "$ledger_database" -c 'SELECT sum(deadlocks) FROM pg_stat_database'; }

# The worker with nobody to publish; then the relay with all of it to publish; and as many confirmed publishes of the same.
scenario_relay() {
    begin_rounds 3 50
    while more; do
        fill_outbox "$small"
        note worker "$(rate "$small" "$(consuming_us)" "$filled_us")"
        empty_outbox "$small"
        note relay "$(rate "$small" "$emptying_us" "$(value last_us "$logs/wait.out")")"
        start_process wait "$tools/wait" "bench.pass.events=$small"
        sleep 0.3
        LEDGER_PREFIX=pass load resend "$small" "$logs/sample.event"
        await_process wait
        note publish "$(rate "$small" "$(value started_us "$logs/load.out")" "$(value last_us "$logs/wait.out")")"
    done
}
# COUNT: a backlog, and the worker alone until all of its events are in the outbox, at filled_us.
fill_outbox() {
    local target
    load publish "$1"
    rm -f "$logs"/worker*.out
    target=$(($(sql "$ledger_database" -c 'SELECT last_value FROM ledger.outbox_id') + $1))
    start_worker worker
    sql "$ledger_database" -c "DO \$\$ BEGIN WHILE (SELECT last_value FROM ledger.outbox_id) < $target LOOP
        PERFORM pg_sleep(0.005); END LOOP; END \$\$"
    filled_us=$(date +%s%6N)
    sleep 0.3
    stop_process worker
}
# COUNT: the relay alone, from emptying_us on, until all of them have come.
empty_outbox() {
    start_process wait "$tools/wait" "bench.ledger.events=$1"
    sleep 0.3
    emptying_us=$(date +%s%6N)
    start_relay
    await_process wait
    stop_process relay
}

in_database() { local LEDGER_DATABASE_URL; LEDGER_DATABASE_URL=$(database_url "$1"); export LEDGER_DATABASE_URL; shift; "$@"; }

# A ledger of 10,000 accounts, and the same with a million rows in its journal.
scenario_journal() {
    make_database journal0
    in_database journal0 open_accounts "$accounts"
    sql "$ledger_database" -c 'CREATE DATABASE journal1 TEMPLATE journal0'
    grow_journal journal1 1000000 "$accounts"
    begin_rounds 3 70
    while more; do
        in_database journal0 drain rows_0 "$small"
        in_database journal1 drain rows_1000000 "$small"
    done
    sql "$ledger_database" -c 'DROP DATABASE journal0' -c 'DROP DATABASE journal1'
}

# Ten million rows, and then ten million accounts as well, beside an empty ledger. Not part of the default: it takes
# some minutes to make them.
scenario_large() {
    local rows=${BENCH_ROWS:-10000000} many=${BENCH_LARGE_ACCOUNTS:-10000000} warm=${BENCH_WARM:-2000000} from=$SECONDS
    local seconds_max=3600 # it is asked for by name
    make_database large0
    in_database large0 open_accounts "$accounts"
    make_database large1
    in_database large1 open_accounts "$accounts"
    grow_journal large1 "$rows" "$accounts"
    note grow_journal_s $((SECONDS - from))
    in_database large1 warm_up rows_warm $((warm / 5))
    begin_rounds 9 200
    while more; do
        in_database large0 drain rows_0 $((2 * commands))
        in_database large1 drain rows_many $((2 * commands))
    done
    from=$SECONDS
    grow_accounts large1 "$accounts" $((many - 1))
    note grow_accounts_s $((SECONDS - from))
    BENCH_ACCOUNTS=$many in_database large1 warm_up accounts_warm "$warm"
    begin_rounds 9 200
    while more; do
        in_database large0 drain accounts_few $((2 * commands))
        BENCH_ACCOUNTS=$many in_database large1 drain accounts_many $((2 * commands))
    done
    sql "$ledger_database" -c 'DROP DATABASE large0' -c 'DROP DATABASE large1'
}
# FIGURE COMMANDS: what a ledger has behind it that has worked for some minutes since the last checkpoint: each page that
# a command touches first is read, and logged whole.
warm_up() {
    local left=$2 piece=100000
    for ((; left > 0; left -= piece)); do drain "$1" $((left < piece ? left : piece)); done
}

# The worker before a million messages; the relay before as many rows. Each for a while: what there is beyond is
# dropped. All of it with BENCH_BACKLOG_SECONDS=600.
scenario_memory() {
    local backlog=${BENCH_BACKLOG:-1000000} seconds=${BENCH_BACKLOG_SECONDS:-12}
    make_database memory
    in_database memory open_accounts 1000
    load publish "$backlog"
    rm -f "$logs"/worker*.out
    in_database memory start_worker worker
    await_shards
    watch_memory worker "$seconds" "SELECT count(*) >= $backlog FROM ledger.journal"
    note commands "$(sql "$(database_url memory)" -c 'SELECT count(*) FROM ledger.journal')"
    stop_process worker
    sql "$(database_url memory)" -c "INSERT INTO ledger.outbox (slot, kind, destination, properties, body)
        SELECT slot, kind, destination, properties, body FROM (SELECT * FROM ledger.outbox LIMIT 1000) AS few,
               generate_series(1, $backlog / 1000)"
    in_database memory start_relay
    watch_memory relay "$seconds" "SELECT false"
    stop_process relay
    purge bench.ledger.events ledger.commands.{0..7}
    sql "$ledger_database" -c 'DROP DATABASE memory'
}
purge() { # QUEUE...: all of them by one call, as each takes seconds to begin
    local names
    names=$(printf ',<<"%s">>' "$@")
    scripts/servers rabbitmqctl bench --quiet eval "[begin {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, N)),
        rabbit_amqqueue:purge(Q) end || N <- [${names#,}]]." >"$logs/purge.out"
}
watch_memory() { # PROCESS SECONDS QUESTION: until the answer is yes, or that long
    local until=$((SECONDS + $2)) pid=${processes[$1]}
    sleep 1
    note "$1_begin_mib" "$(now_mib "$pid")"
    while ((SECONDS < until)); do
        [[ $(sql "$(database_url memory)" -c "$3") != t ]] || break
        sleep 2
    done
    note "$1_end_mib" "$(now_mib "$pid")"
    note "$1_mib" "$(peak_mib "$pid")"
}

# The difference of two backlogs, so that what beginning and ending take is not in it; the worker first, then the relay,
# each with all of it before it.
scenario_allocations() {
    local name
    count_allocations
    for name in worker relay; do
        note "$name" "$(awk -F '[= ]' -v n=$((small - small / 3)) '/^allocations=/ { seen[++k] = $2 }
            END { printf "%.3f", (seen[2] - seen[1]) / n }' "$logs/allocations.$name.$((small / 3))" "$logs/allocations.$name.$small")"
    done
}
count_allocations() { # unless another scenario of this run has
    local counted
    [[ ! -e $logs/allocations.relay.$small ]] || return 0
    for counted in "$((small / 3))" "$small"; do
        worker_command=("LD_PRELOAD=$tools/allocations.so" "BENCH_ALLOCATIONS=$logs/allocations.worker.$counted")
        relay_command=("LD_PRELOAD=$tools/allocations.so" "BENCH_ALLOCATIONS=$logs/allocations.relay.$counted")
        fill_outbox "$counted"
        empty_outbox "$counted"
    done
    worker_command=() relay_command=()
}

# A steady load for a long time: what is not flat would show. The outbox has small partitions, so that it is many times
# that they are changed. Not part of the default.
scenario_soak() {
    local full seconds=${BENCH_SOAK_SECONDS:-600} step=10 before now
    full=$(drain_rate)
    rm -f "$logs"/worker*.out
    relay_command=(LEDGER_OUTBOX_ROWS_MAX=200000)
    start_ledger
    await_shards
    start_process sustain "$tools/sustain" $((full / 2)) "$seconds"
    sleep 2
    before=$(applied)
    while sleep $step; kill -0 "${processes[sustain]}" 2>/dev/null; do
        now=$(applied)
        note applied $(((now - before) / step))
        before=$now
        note_quietly worker_rss_mib "$(now_mib "${processes[worker]}")"
        note_quietly relay_rss_mib "$(now_mib "${processes[relay]}")"
        note_quietly outbox_mib "$(sql "$ledger_database" -c "SELECT round(sum(pg_total_relation_size(relid)) / 1048576.0, 1)
            FROM pg_partition_tree('ledger.outbox') WHERE isleaf")"
    done
    await_process sustain
    note rate "$(value rate "$logs/sustain.out")"
    note_quantiles "$logs/sustain.out" latency
    note backlog "$(scripts/servers rabbitmqctl bench --quiet list_queues name messages | awk '/^ledger.commands\.[0-9]+/ { n += $2 } END { print n + 0 }')"
    stop_ledger
    relay_command=()
}
applied() { sql "$ledger_database" -c 'SELECT last_value FROM ledger.outbox_id'; }

# A file of transfers and deposits among the accounts that are open.
scenario_import() {
    begin_rounds "$repeats" 200
    while more; do import_once "${BENCH_LINES:-200000}"; done
}
import_once() { # LINES
    local file=$logs/import-$SECONDS.csv pid peak=0 now
    awk -v n="$1" -v accounts="$accounts" 'BEGIN { srand(); print "type,from,to,account,amount_minor"
        for (i = 0; i < n; i++) {
            to = int(rand() * accounts); from = (to + 1 + int(rand() * (accounts - 1))) % accounts
            if (i % 10 == 0) printf "deposit,,,bench-%06u,5\n", to; else printf "transfer,bench-%06u,bench-%06u,,1\n", from, to } }' >"$file"
    start_process import "$bin/ledgerctl" import "$file" --no-verify
    pid=${processes[import]}
    while kill -0 "$pid" 2>/dev/null; do
        now=$(peak_mib "$pid" 2>/dev/null) || true
        peak=${now:-$peak}
        sleep 0.2
    done
    await_process import
    note lines "$(awk -v n="$1" '/ applied, / { for (i = 1; i < NF; i++) if ($i == "in") printf "%.0f", n / $(i + 1) }' "$logs/import.out")"
    note import_mib "$peak"
    rm "$file"
}
