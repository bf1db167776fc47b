#!/bin/bash
# The image under the restricted Pod Security Standard and more: a user by number, a read-only root, no capability, no new
# privileges, seccomp on. Migrates, starts each process, gives it commands, looks at what the kernel says of it, and ends
# it. With podman and runc, as root, on the test servers.
#
#   tests/image/restricted.sh IMAGE | --rootfs FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."

image=("$@")
name=ledger-image-$$
servers=
logs=$PWD/build/test-logs/image
mkdir -p "$logs"
fail() { echo "FAILED: $*" >&2; for one in "${started[@]}"; do podman logs "$one" >"$logs/$one.log" 2>&1 || true; tail -n 5 "$logs/$one.log" >&2; done; exit 1; }
started=()

if [[ -z ${LEDGER_DATABASE_URL:-} ]]; then
    servers=image
    scripts/servers start $servers
    # shellcheck disable=SC1091 # written by scripts/servers
    source .run/image.env
fi
finish() {
    local code=$?
    trap - EXIT
    ((${#started[@]} == 0)) || podman rm --force --time 0 "${started[@]}" >/dev/null 2>&1 || true
    psql -X -q "$admin_url" -c "DROP DATABASE IF EXISTS ${LEDGER_DATABASE_URL##*/} WITH (FORCE)" || true
    [[ -z $servers ]] || scripts/servers stop $servers
    exit "$code"
}
admin_url=$LEDGER_DATABASE_URL
psql -X -q "$admin_url" -c "CREATE DATABASE image_$$"
export LEDGER_DATABASE_URL=${admin_url%/*}/image_$$ LEDGER_PREFIX=image-$$ LEDGER_SHARDS=4
trap finish EXIT
trap 'exit 130' INT TERM

# A pod's settings; the network is the host's, for that is where the servers are.
options=(--network host --user 65532:65532 --read-only --read-only-tmpfs=false --cap-drop all --security-opt no-new-privileges
    --env PATH=/usr/bin --env LEDGER_AMQP_URL --env LEDGER_DATABASE_URL --env LEDGER_REDIS_URL --env LEDGER_PREFIX --env LEDGER_SHARDS
    --env LEDGER_HTTP_ADDRESS=127.0.0.1)
key=$logs/signing-key.pem
openssl genpkey -algorithm ed25519 -out "$key" 2>/dev/null
chmod 444 "$key" # a pod has it by its group; here it is a file of the test's
# Below those that the system gives to outgoing connections: what is free stays free.
free_port() { local port; until port=$((31000 + RANDOM % 500)); ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done; echo "$port"; }
run() { timeout 60 podman run --rm "${options[@]}" "${image[@]}" "$@"; }
declare -A ports=()
start() { # PROCESS [OPTIONS...]
    local process=$1; shift
    ports[$process]=$(free_port)
    podman run --detach --name "$name-$process" --log-driver k8s-file --env LEDGER_HTTP_PORT="${ports[$process]}" "$@" "${options[@]}" "${image[@]}" \
        "ledger-$process" >/dev/null
    started+=("$name-$process")
}
has() { run "ledger-$1" --version >/dev/null 2>&1; }
ready() { curl -fsS -m 2 -o /dev/null "http://127.0.0.1:${ports[$1]}/health/ready" 2>/dev/null; }
await_ready() { for ((i = 0; i < 300; i++)); do ready "$1" && return 0; sleep 0.1; done; fail "$1 is not ready"; }

# What the kernel says, not what was asked for.
restricted() {
    local pid status
    pid=$(podman inspect --format '{{.State.Pid}}' "$name-$1")
    status=$(</proc/"$pid"/status)
    for want in $'Uid:\t65532\t65532\t65532\t65532' $'Gid:\t65532\t65532\t65532\t65532' $'CapEff:\t0000000000000000' $'CapPrm:\t0000000000000000' \
        $'CapBnd:\t0000000000000000' $'CapAmb:\t0000000000000000' $'NoNewPrivs:\t1' $'Seccomp:\t2'; do
        grep -qxF "$want" <<<"$status" || fail "$1: not $want but $(grep "^${want%%:*}:" <<<"$status")"
    done
    awk '$5 == "/" { print $6 }' "/proc/$pid/mountinfo" | grep -qE '^ro(,|$)' || fail "$1: its root may be written"
    [[ $(awk '/^NSpid:/ { print $NF }' <<<"$status") == 1 ]] || fail "$1 is not process 1 of its container"
}

echo 'image: migrates'
run ledgerctl migrate >/dev/null
for shell in sh bash busybox; do ! run $shell -c true 2>/dev/null || fail "there is a $shell in it"; done
processes=(relay worker notary)
for process in gateway webhooks; do ! has $process || processes+=("$process"); done
for process in "${processes[@]}"; do
    case $process in
        notary) start notary --env LEDGER_SIGNING_KEY_FILE=/key.pem --env LEDGER_CHECKPOINT_S=1 --volume "$key:/key.pem:ro" ;;
        gateway) start gateway --env LEDGER_HTTP_CONNECTIONS_MAX=500 ;; # a container here has 1024 files
        *) start "$process" ;;
    esac
done
for process in "${processes[@]}"; do await_ready "$process"; restricted "$process"; done
echo "image: ${processes[*]} run as 65532 on a read-only root, without a capability, with seccomp"

run ledgerctl open-account ada --user ada --asset EUR >/dev/null
run ledgerctl open-account bob --user bob --asset EUR >/dev/null
run ledgerctl deposit ada 100.00 --key pay-1 >/dev/null
run ledgerctl deposit ada 100.00 --key pay-1 --output json | grep -q '"replayed":true' || fail 'the repeat is not marked'
run ledgerctl transfer ada bob 12.50 >/dev/null
refused=$(run ledgerctl withdraw ada 250 --output json 2>/dev/null || true)
grep -q insufficient_funds <<<"$refused" || fail "overdrawn: $refused"
run ledgerctl get-balance ada --output json | grep -q '"balance":8750' || fail 'ada has not 87.50'
run ledgerctl verify | grep -q 'the books are right' || fail 'the books are wrong'
if [[ ${image[0]} != --rootfs ]]; then
    podman healthcheck run "$name-worker" >/dev/null || fail 'its HEALTHCHECK fails'
    podman image inspect "${image[0]}" | grep -q org.opencontainers.image.revision || fail 'it has no labels'
fi
podman exec "$name-worker" ledgerctl health >/dev/null || fail 'ledgerctl health fails'
for process in "${processes[@]}"; do
    podman stop --time 15 "$name-$process" >/dev/null 2>&1
    code=$(podman inspect --format '{{.State.ExitCode}}' "$name-$process")
    [[ $code == 0 ]] || fail "$process left with code $code at SIGTERM"
done
echo "image: commands applied and repeated, the books are right, and each left at SIGTERM"
