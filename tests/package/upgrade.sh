#!/bin/bash
# A life of the Debian package in a fresh Debian 12 with systemd, on private servers: installed and started by the lines of
# docs/debian.md, confined as the kernel sees it, given commands, upgraded in place under load without a lost command, removed, and
# purged without a trace. As root: systemd runs in a container of systemd-nspawn, on this machine's network.
#
#   tests/package/upgrade.sh BASE.tar PACKAGE.deb NEXT.deb
set -euo pipefail
cd "$(dirname "$0")/../.."

(($# == 3)) || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
base=$1 package=$2 next=$3
work=$PWD/build/package logs=$PWD/build/test-logs/package
root=$work/root
mkdir -p "$logs"
system=
fail() {
    echo "FAILED: $*" >&2
    [[ -z $system ]] || inside 'journalctl --no-pager -o cat -u "ledger-*"' >"$logs/journal.log" 2>&1 || true
    tail -n 8 "$logs/journal.log" >&2
    exit 1
}
finish() {
    local code=$?
    trap - EXIT
    [[ -z ${load:-} ]] || kill "$load" 2>/dev/null || true
    [[ -z $system ]] || kill -KILL "$system" 2>/dev/null || true
    wait 2>/dev/null || true
    scripts/servers wipe package
    rm -rf "$root"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

inside() { nsenter -t "$system" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash -ec "$1"; }
until_true() { # SECONDS WHAT COMMAND...
    local seconds=$1 what=$2 i; shift 2
    for ((i = 0; i < seconds * 5; i++)); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
    fail "not within $seconds s: $what"
}
sql() { psql -X -qAt -v ON_ERROR_STOP=1 "$LEDGER_DATABASE_URL" -c 'SET search_path TO ledger' -c "$1"; }

# The lines of the guide's Nth block, with the servers' and the units' ports of this run.
block() {
    awk -v wanted="$1" '/^```/ { open = !open; number += open; next } open && number == wanted' docs/debian.md |
        sed -E "s/127\.0\.0\.1:5432/$sql_host/; s/127\.0\.0\.1:5672/$amqp_host/; s/127\.0\.0\.1:6379/$redis_host/; s/@80(0[0-9])/@$ports\1/g"
}
files() { (cd "$root" && find . \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./var/lib/systemd \
    -o -path ./var/log -o -path ./var/tmp -o -path ./var/lib/dpkg -o -path ./var/cache \) -prune -o -print | sort); }

echo 'package: a fresh Debian with systemd'
scripts/servers wipe package
scripts/servers start package
# shellcheck disable=SC1091 # written by scripts/servers
source .run/package.env
host_of() { sed -E 's,.*[@/]([0-9.:]+)/.*,\1,' <<<"$1"; }
sql_host=$(host_of "$LEDGER_DATABASE_URL") amqp_host=$(host_of "$LEDGER_AMQP_URL") redis_host=$(host_of "$LEDGER_REDIS_URL")
used() { local port; for port in {1..8}; do if (exec 3<>"/dev/tcp/127.0.0.1/${ports}0$port") 2>/dev/null; then return 0; fi; done; return 1; }
until ports=$((150 + RANDOM % 160)); ! used; do :; done
rm -rf "$root"; mkdir -p "$root"
tar -C "$root" --exclude='./dev/*' -xf "$base"
install -m 644 "$package" "$root/ledger.deb"
install -m 644 "$next" "$root/next.deb"
# On a machine whose own systemd runs it may know of the container; elsewhere there is none to tell.
options=(); [[ -d /run/systemd/system ]] || options=(--register=no --keep-unit)
systemd-nspawn --quiet "${options[@]}" --directory="$root" --boot --console=pipe --machine="ledger-package-$$" >"$logs/console.log" 2>&1 </dev/null &
container=$!
until_true 60 'systemd starts' pgrep -x -P $container systemd
system=$(pgrep -x -P $container systemd)
until_true 120 'systemd is up' inside 'systemctl is-system-running | grep -qE "running|degraded"'
files >"$logs/before"

echo 'package: installed; nothing runs'
inside 'dpkg -i /ledger.deb' >"$logs/install.log" 2>&1 || fail "$(tail -n 5 "$logs/install.log")"
[[ $(inside 'getent passwd ledger') == ledger:*:/usr/sbin/nologin ]] || fail 'there is no user ledger that cannot log in'
[[ -z $(inside 'systemctl list-units --no-legend "ledger-*"') ]] || fail 'something was started'
# shellcheck disable=SC2016 # it is expanded inside
inside 'cd /lib/systemd/system && for unit in ledger-*@.service; do echo "${unit/@/@8001}"; done | xargs systemd-analyze verify ledger-migrate.service' \
    >"$logs/verify-units.log" 2>&1 && [[ ! -s $logs/verify-units.log ]] || fail "units: $(cat "$logs/verify-units.log")"

echo "package: set up by the guide's lines"
set_up=$(block 2)
[[ $set_up == *passwords/callers* && $(block 4) == *'systemctl start ledger-migrate'* && $(block 5) == *'systemctl restart'* ]] || fail 'docs/debian.md has other blocks'
inside "$set_up" || fail 'the second block'
psql -X -q -v ON_ERROR_STOP=1 "${LEDGER_DATABASE_URL%/*}/postgres" -c 'DROP DATABASE ledger' -c "CREATE ROLE \"ledger-owner\" LOGIN CREATEROLE PASSWORD '$(<"$root/etc/ledger/passwords/owner")'" \
    -c 'CREATE DATABASE ledger OWNER "ledger-owner"'
inside 'ledgerctl broker-definitions /etc/ledger/passwords' | scripts/servers rabbitmqctl package -q import_definitions >/dev/null
inside "cd /etc/ledger; rabbitmq=$amqp_host"$'\n'"$(block 4)" >"$logs/start.log" 2>&1 || fail "$(tail -n 5 "$logs/start.log")"
grep -q 'the books are right' "$logs/start.log" || fail "$(cat "$logs/start.log")"
units=$(inside "systemctl list-units --plain --no-legend 'ledger-*@*' | cut -d ' ' -f 1")
count=$(wc -l <<<"$units")
((count == 8)) || fail "not all run: $units"
port_of() { echo "${1//[!0-9]/}"; }
ready() { curl -fsS -m 2 -o /dev/null "http://127.0.0.1:$(port_of "$1")/health/ready"; }
version_of() { curl -fsS -m 2 "http://127.0.0.1:$(port_of "$1")/metrics" | sed -n 's/^ledger_build_info{version="\(.*\)"} 1/\1/p'; }
for unit in $units; do until_true 60 "$unit is ready" ready "$unit"; done

# What the kernel says, not what was asked for.
confined() { # UNIT
    local pid status uid
    pid=$(inside "systemctl show --value -p MainPID $1")
    status=$(inside "cat /proc/$pid/status")
    uid=$(inside 'id -u ledger')
    for want in "Uid:"$'\t'"$uid"$'\t'"$uid"$'\t'"$uid"$'\t'"$uid" $'CapEff:\t0000000000000000' $'CapPrm:\t0000000000000000' $'CapBnd:\t0000000000000000' \
        $'CapAmb:\t0000000000000000' $'NoNewPrivs:\t1' $'Seccomp:\t2'; do
        grep -qxF "$want" <<<"$status" || fail "$1: not $want but $(grep "^${want%%:*}:" <<<"$status")"
    done
    for path in / /usr /etc /var; do
        ! inside "nsenter -t $pid -m touch ${path%/}/probe 2>/dev/null" || fail "$1 may write to $path"
    done
    ! inside "nsenter -t $pid -m -S $uid -G $uid cat /etc/ledger/worker/database-url 2>/dev/null" || fail "$1 may read the secrets of others"
    inside "systemd-analyze security --no-pager --threshold=20 $1" >"$logs/security-$1.log" 2>&1 || fail "$1: $(tail -n 1 "$logs/security-$1.log")"
}
for unit in $units; do confined "$unit"; done
echo "package: $count processes run as ledger, confined: $(tail -n 1 "$logs/security-$unit.log" | grep -oE '[0-9.]+ [A-Z]+') for the last"

echo 'package: upgraded under load'
owner='LEDGER_DATABASE_URL_FILE=/etc/ledger/migrate/database-url'
shop="LEDGER_AMQP_URL=amqp://shop:$(<"$root/etc/ledger/passwords/callers/shop")@$amqp_host/"
for ((i = 0; i < 20; i++)); do inside "$shop ledgerctl open-account load-$i --user load --asset EUR" >"$logs/accounts.log" 2>&1 || fail "$(cat "$logs/accounts.log")"; done
LEDGER_KEY=$(inside "$owner ledgerctl key add load --scope read,write 2>/dev/null" | grep -oE 'lk_[^ ]+')
export LEDGER_KEY
known() { for unit in $units; do [[ $unit != *gateway* ]] || curl -fsS -m 5 -H "Authorization: Bearer $LEDGER_KEY" "http://127.0.0.1:$(port_of "$unit")/users/load/balance" || return 1; done; }
until_true 60 'the gateways know the key' known
rm -f "$logs/stop"
# shellcheck disable=SC2046 # addresses
/usr/bin/python3 tests/package/publish.py "$logs/stop" "$logs/keys" $(grep gateway <<<"$units" | grep -oE '[0-9]+' | sed 's/^/127.0.0.1:/') >"$logs/load.log" 2>&1 &
load=$!
accepted() { [[ $(wc -l <"$logs/keys") -ge $1 ]]; }
until_true 300 'commands are accepted' accepted 100
pids() { inside "systemctl show --value -p MainPID $(tr '\n' ' ' <<<"$units")" | grep .; }
old=$(version_of "$unit") before=$(pids)
inside 'dpkg -i /next.deb' >"$logs/upgrade.log" 2>&1 || fail "$(tail -n 5 "$logs/upgrade.log")"
[[ $(pids) == "$before" && $(version_of "$unit") == "$old" ]] || fail 'the upgrade touched what runs'
[[ $(tail -n 1 "$root/etc/ledger/ledger.env") == LEDGER_TOPOLOGY=check ]] || fail 'the settings are not what they were'
new=$(inside 'ledgerctl --version'); new=${new##* }
[[ $new != "$old" ]] || fail "the next package is $old as well"
until_true 300 'more commands are accepted' accepted $(($(wc -l <"$logs/keys") + 100))
SECONDS=0
inside "$(block 5 | tail -n +2)" || fail 'the fifth block'
took=$SECONDS during=$(wc -l <"$logs/keys")
for unit in $units; do [[ $(version_of "$unit") == "$new" ]] || fail "$unit is $(version_of "$unit"), not $new"; done
! grep -qxF -f <(echo "$before") <(pids) || fail 'not all were restarted'
until_true 300 'commands are accepted afterwards' accepted $((during + 100))
touch "$logs/stop"
wait $load || fail "the load: $(tail -n 3 "$logs/load.log")"
load=
sent=$(wc -l <"$logs/keys")
decided() { [[ $(sql "SELECT count(*) FROM journal WHERE key LIKE 'load-%' AND result IS NULL AND command = 2") == "$sent" ]]; }
until_true 300 "an outcome for each of $sent commands" decided
sql "SELECT key FROM journal WHERE key LIKE 'load-%' AND result IS NULL AND command = 2" | sort >"$logs/outcomes"
sort "$logs/keys" | cmp - "$logs/outcomes" || fail 'other commands have outcomes than were sent'
[[ $(sql "SELECT sum(amount) FROM posting JOIN account ON account.number = posting.account WHERE account.id LIKE 'load-%'") == "$sent" ]] || fail 'the money is not what was sent'
inside "$owner ledgerctl verify" >"$logs/verify.log" 2>"$logs/verify.err" && grep -q 'the books are right' "$logs/verify.log" || fail "$(cat "$logs"/verify.{err,log})"
echo "package: $count processes went from $old to $new in $took s, one after the other; $sent commands were accepted before, meanwhile and after, and each has one outcome; $(cat "$logs/verify.log")"

echo 'package: removed and purged'
inside 'dpkg -r ledger' >"$logs/remove.log" 2>&1 || fail "$(tail -n 5 "$logs/remove.log")"
# shellcheck disable=SC2016 # it is expanded inside
[[ -z $(inside 'grep -lsE "^Uid:[[:space:]]+$(id -u ledger)[[:space:]]" /proc/[0-9]*/status || true') ]] || fail 'processes are left'
[[ -s $root/etc/ledger/notary/signing-key ]] || fail 'removing took the secrets'
inside 'dpkg -P ledger' >"$logs/purge.log" 2>&1 || fail "$(tail -n 5 "$logs/purge.log")"
! inside 'systemctl list-unit-files --no-legend "ledger-*"' | grep . || fail 'units are left'
files | diff "$logs/before" - || fail 'the files shown above are not as they were'
[[ ! -e $root/var/lib/dpkg/info/ledger.list ]] || fail 'dpkg knows it still'
inside 'getent passwd ledger' >/dev/null || fail 'the user is gone'
! inside 'systemctl --failed --no-legend' | grep . || fail 'units have failed'
echo 'package: nothing is left but the user'
