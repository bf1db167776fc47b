# whole.sh - for shell tests of the whole system: a ledger of the test's own (database, prefix, processes) on the
# servers whose addresses are in the environment. Source it; everything it starts ends with the test.
#
#   ledger_begin NAME            a fresh database and prefix
#   process NAME PROGRAM         starts a process; its log is in $logs/NAME.log
#   process_kill NAME SIGNAL     and process_end NAME [SECONDS], which fails when its exit code is not 0
#   at_end                       a function of the test's, if there is one: called when it ends, however that is
# shellcheck shell=bash
set -euo pipefail

bin=${LEDGER_BIN:-$PWD/build/gcc-release/bin}
# shellcheck disable=SC2034 # for the tests
servers=${LEDGER_SERVERS:-scripts/servers}
# shellcheck disable=SC2034 # for the tests
instance=${LEDGER_SERVERS_NAME:-test}
export LEDGER_HTTP_ADDRESS=127.0.0.1 LEDGER_HTTP_PORT=0 LEDGER_SHARDS=${LEDGER_SHARDS:-4}
admin_url=$LEDGER_DATABASE_URL
wrapper=() # what processes run under, such as valgrind
declare -A pids=()

fail() { echo "FAILED: $*" >&2; echo "the processes' logs are in $logs" >&2; exit 1; }
sql() { psql -X -qAt -v ON_ERROR_STOP=1 "$LEDGER_DATABASE_URL" -c "SET search_path TO ledger; SET ledger.rewrite_history = on" -c "$1"; }

ledger_begin() {
    local database=it_${1//-/_}_$$
    logs=$PWD/build/test-logs/whole/$1
    rm -rf "$logs"; mkdir -p "$logs"
    psql -X -q "$admin_url" -c "CREATE DATABASE $database"
    export LEDGER_DATABASE_URL=${admin_url%/*}/$database LEDGER_PREFIX=$1-$$
    trap ledger_end EXIT
    trap 'exit 130' INT TERM
    "$bin/ledgerctl" migrate >/dev/null
}

ledger_end() {
    local code=$? name
    trap - EXIT
    set +e
    ! declare -F at_end >/dev/null || at_end
    for name in "${!pids[@]}"; do kill -KILL "${pids[$name]}" 2>/dev/null || true; done
    wait 2>/dev/null || true
    psql -X -q "$admin_url" -c "DROP DATABASE IF EXISTS ${LEDGER_DATABASE_URL##*/} WITH (FORCE)" || true
    exit "$code"
}

process() {
    "${wrapper[@]}" "$bin/$2" >>"$logs/$1.log" 2>&1 </dev/null &
    pids[$1]=$!
}

process_kill() { kill "-$2" "${pids[$1]}"; }

process_end() {
    local pid=${pids[$1]} code=0
    kill -TERM "$pid"
    for ((i = 0; i < ${2:-10} * 20; i++)); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
    kill -0 "$pid" 2>/dev/null && fail "$1 did not leave within ${2:-10} s of SIGTERM"
    wait "$pid" || code=$?
    unset "pids[$1]"
    [[ $code == 0 ]] || fail "$1 left with code $code"
}

# until_true SECONDS WHAT COMMAND...: waits for it to succeed.
until_true() {
    local seconds=$1 what=$2 i; shift 2
    for ((i = 0; i < seconds * 10; i++)); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
    fail "not within $seconds s: $what"
}

has_logged() { grep -q "$2" "$logs/$1.log"; }
await_consuming() { until_true 20 "$1 consumes" has_logged "$1" 'took shard'; }
await_leading() { until_true 20 "$1 leads" has_logged "$1" leading; }
ctl() { "$bin/ledgerctl" --output json "$@" 2>/dev/null || true; }

# field NAME JSON: the value of a key, for replies that are flat enough.
field() { grep -oE "\"$1\":(\"[^\"]*\"|[^,}]*)" <<<"$2" | head -n 1 | cut -d: -f2- | tr -d '"'; }
expect() { # JSON NAME VALUE...
    local json=$1; shift
    while (($# > 0)); do
        [[ $(field "$1" "$json") == "$2" ]] || fail "expected $1=$2, got $json"
        shift 2
    done
}
queue_depth() {
    /usr/bin/python3 - "$1" <<'PYTHON'
import os, sys
import pika
with pika.BlockingConnection(pika.URLParameters(os.environ["LEDGER_AMQP_URL"])) as connection:
    print(connection.channel().queue_declare(sys.argv[1], passive=True).method.message_count)
PYTHON
}
