#!/bin/bash
# Files from another ledger, on real servers: both formats, every reason why a line is left out, imports that die by
# SIGKILL at any moment, and workers that are busy meanwhile. What it comes to is compared with the files, by awk.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

kills=${LEDGER_IMPORT_KILLS:-8}
lines=${LEDGER_IMPORT_LINES:-120000}
files=$(mktemp -d)
at_end() { rm -rf "$files"; psql -X -q "$admin_url" -c "DROP ROLE IF EXISTS import_$$"; }

say() { echo "$*"; }
import() { "$bin/ledgerctl" import "$@"; }
# refuses CODE PATTERN ARGUMENTS...: the exit code, and a line on standard error.
refuses() {
    local code=0 want=$1 pattern=$2; shift 2
    import "$@" >"$files/out" 2>"$files/err" || code=$?
    [[ $code == "$want" ]] || fail "import $*: code $code, not $want: $(cat "$files/err")"
    grep -qE -- "$pattern" "$files/err" || fail "import $*: no '$pattern' in: $(cat "$files/err")"
}
is() { local got; got=$(sql "$2"); [[ $got == "$3" ]] || fail "$1: $got, not $3"; }
# All that the ledger holds, and what an import alone may change.
state() { sql "SELECT md5(string_agg(row::text, ' ' ORDER BY row::text)) FROM (
    SELECT id || ' ' || balance || ' ' || held || ' ' || seq AS row FROM account UNION ALL
    SELECT id || ' ' || key FROM journal UNION ALL SELECT name || position FROM import UNION ALL
    SELECT account || ' ' || delta FROM account_delta UNION ALL SELECT id::text FROM outbox) AS rows"; }

ledger_begin import

say "both formats; what comes of them"
cat >"$files/accounts.csv" <<'END'
account,user_id,name,asset,balance,kind,metadata,key
ada,u-ada,"Ada ""L.""",EUR,100.50,,"{""tier"":""gold""}",
bob,u-bob,,EUR,0,,,bob-opens
fees,house,,EUR,-0.50,system,,
dollars,u-ada,,USD,7,,,
END
cat >"$files/past.jsonl" <<'END'
{"type":"transfer","from":"ada","to":"bob","amount":"12.50","at":"2025-01-02T03:04:05.678Z","metadata":{"order":1},"key":"old-1"}

{"type":"withdraw","account":"bob","amount":50,"at":"2025-02-02T03:04:05+01:00"}
{"type":"batch","commands":[{"type":"transfer","idempotency_key":"b/1","from":"ada","to":"bob","amount":1},
END
# The line that was cut short goes on, so that it is one again.
truncate -s -1 "$files/past.jsonl"
echo '{"type":"transfer","idempotency_key":"b/2","from":"ada","to":"fees","amount":2}],"at":"2025-03-01T00:00:00Z"}' >>"$files/past.jsonl"
before=$(state)
import --check "$files/accounts.csv" "$files/past.jsonl" --at 2025-01-01T00:00:00Z --expect EUR=99.50 >"$files/out"
grep -q 'nothing was changed' "$files/out" || fail "a check says nothing"
refuses 1 'control total: the accounts hold EUR 99.50, expected was EUR=99.51' --check "$files/accounts.csv" "$files/past.jsonl" \
    --at 2025-01-01T00:00:00Z --expect EUR=99.51
[[ $(state) == "$before" ]] || fail "a check changed something"
import "$files/accounts.csv" "$files/past.jsonl" --at 2025-01-01T00:00:00Z --expect EUR=99.50 --expect USD=7 >"$files/out"
grep -q 'the books are right' "$files/out" || fail "not verified"
is balances "SELECT string_agg(id || ' ' || balance || ' ' || seq, ', ' ORDER BY id) FROM account WHERE number > 0 AND id !~ '^world'" \
    "ada 8797 4, bob 1201 3, dollars 700 1, fees -48 0"
is "a past time" "SELECT created_at AT TIME ZONE 'UTC' || ' ' || key || ' ' || caller FROM journal WHERE key = 'old-1'" \
    "2025-01-02 03:04:05.678 old-1 import"
is "the time in an id" "SELECT ('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint FROM journal WHERE key = 'old-1'" 1735787045678
is "a time with a zone" "SELECT created_at AT TIME ZONE 'UTC' FROM journal WHERE key = 'import:past.jsonl:3'" "2025-02-02 02:04:05"
is "an account's time" "SELECT string_agg(DISTINCT (created_at AT TIME ZONE 'UTC')::text, ',') FROM account WHERE id = 'ada'" "2025-01-01 00:00:00"
is "a user's time" "SELECT created_at AT TIME ZONE 'UTC' FROM ledger_user WHERE id = 'u-ada'" "2025-01-01 00:00:00"
is "a name" "SELECT name FROM ledger_user WHERE id = 'u-ada'" 'Ada "L."'
is "no event" "SELECT count(*) FROM outbox" 0
is "the mark" "SELECT count(*) FROM journal WHERE import IS NULL" 0
is "the rows of import" "SELECT string_agg(name || ' ' || applied || ' ' || (position = size) || ' ' || (ended_at IS NOT NULL), ', ' ORDER BY name) FROM import" \
    "accounts.csv 4 true true, past.jsonl 3 true true"

say "once more: nothing"
before=$(state)
import "$files/accounts.csv" "$files/past.jsonl" --at 2025-01-01T00:00:00Z >"$files/out" 2>"$files/err"
grep -q 'was imported before' "$files/err" || fail "it does not say that it was"
[[ $(state) == "$before" ]] || fail "a second run changed something"
sql "DELETE FROM import WHERE name = 'past.jsonl'"
import "$files/past.jsonl" >"$files/out"
grep -q '3 lines: 0 applied, 3 repeated, 0 refused' "$files/out" || fail "no repeats: $(cat "$files/out")"
is balances "SELECT sum(balance) FROM account WHERE id IN ('ada', 'bob', 'dollars', 'fees')" 10650

say "another file under the same name"
cp "$files/past.jsonl" "$files/other.jsonl"
echo '{"type":"deposit","account":"bob","amount":1}' >>"$files/other.jsonl"
refuses 1 'begun with another file, [0-9]+ bytes long; give this one another --name, or say --changed' "$files/other.jsonl" --name past.jsonl
import "$files/other.jsonl" --name past.jsonl --changed --no-verify >"$files/out"
grep -q '4 lines: 1 applied, 3 repeated, 0 refused' "$files/out" || fail "not taken: $(cat "$files/out")"
refuses 1 'was begun without --events' "$files/other.jsonl" --name past.jsonl --events
is "where bob is" "SELECT balance FROM account WHERE id = 'bob'" 1202

say "the example of docs/import.md, by a login that may do no more than it must, whatever the policy"
awk -v to="$files/" '/^```csv/ { file = to (n++ == 0 ? "d-accounts.csv" : "d-past.csv"); next } /^```json/ { file = to "d-past.jsonl"; next }
    /^```/ { file = "" } file { print >file }' docs/import.md
psql -X -q "$admin_url" -c "CREATE ROLE import_$$ LOGIN PASSWORD 'import' IN ROLE ledger_worker, ledger_reader"
"$bin/ledgerctl" policy allow nobody get_balance nothing >/dev/null # and nobody else anything: but an operator is not asked
"$bin/ledgerctl" policy enable >/dev/null
LEDGER_DATABASE_URL=postgresql://import_$$:import@${LEDGER_DATABASE_URL#*@} \
    import "$files"/d-{accounts.csv,past.csv,past.jsonl} --at 2026-01-01T00:00:00Z --app-id shop --output json --no-verify >"$files/out"
"$bin/ledgerctl" policy disable >/dev/null
grep -q '{"asset":"EUR","accounts":6,"imported":5,"balance":' "$files/out" || fail "$(cat "$files/out")"
is "its balances" "SELECT string_agg(balance || ' ' || held, ', ' ORDER BY id) FROM account WHERE id IN ('alice:eur', 'bob:eur')" "13750 0, 1225 500"
is "its keys" "SELECT caller FROM journal WHERE key = 'old-3'" shop

say "every reason"
bad() { printf '%s\n' "$1" >"$files/$2"; refuses 1 "$files/$2:$3" "$files/$2" --name "bad-$RANDOM-$RANDOM" --no-verify; }
head=type,account,from,to,amount,amount_minor,asset,at,key
bad "$head"$'\ndeposit,nobody,,,1,,,,' bad.csv '2: account_not_found: no such account'
bad "$head"$'\nwithdraw,ada,,,1000,,,,' bad.csv '2: insufficient_funds: the available'
bad "$head"$'\ntransfer,,ada,dollars,1,,,,' bad.csv '2: asset_mismatch: '
bad "$head"$'\ndeposit,ada,,,1.001,,,,' bad.csv '2: invalid_amount: '
bad "$head"$'\ndeposit,ada,,,1,,,2024-12-31T23:59:59Z,' bad.csv '2: out_of_order: '
bad "$head"$'\ndeposit,ada,,,1,,,2999-01-01T00:00:00Z,' bad.csv '2: out_of_order: '
bad "$head"$'\ndeposit,ada,,,1,,,,b/1' bad.csv '2: idempotency_key_reused: '
bad "$head"$'\ndeposit,a da,,,1,,,,' bad.csv '2: account: must be 1 to 64'
bad "$head"$'\ndeposit,ada,,,x,,,,' bad.csv "2: amount: 'x' is not a decimal"
bad "$head"$'\ndeposit,ada,,,,,,,' bad.csv '2: amount: missing'
bad "$head"$'\ndeposit,ada,bob,,1,,,,' bad.csv '2: from: unknown key for deposit'
bad "$head"$'\ndeposit,"ada\n\n,,,1,,,,' bad.csv '2: a quote is not closed'
bad 'type,colour' bad.csv "1: no column is called 'colour'"
bad $'account,user_id,asset,balance\nada,u,EUR,1' bad.csv '2: (commands\[0\]: )?account_exists: '
bad $'account,user_id,asset,balance\nnew,u,EUR,1.001' bad.csv '2: commands\[1\]: invalid_amount: '
is "half an opening" "SELECT count(*) FROM account WHERE id = 'new'" 0
bad $'account,user_id,asset,balance\nnew,u,EUR,-1' bad.csv '2: commands\[1\]: insufficient_funds: '
bad '{"type":"deposit","account":"ada","amount":1.5}' bad.jsonl '1: amount: a float is refused'
bad '{"type":"deposit","account":"ada","amount":1,"dry_run":true}' bad.jsonl '1: dry_run: '
bad '{"type":"deposit","account":"ada","amount":1,"not_before":"2999-01-01T00:00:00Z"}' bad.jsonl '1: not_before: '
bad '{"type":"deposit","acount":"ada","amount":1}' bad.jsonl '1: acount: unknown key for deposit'
bad '{"type":"capture","hold":"019aaf11-2233-7444-8555-66778899aabb"}' bad.jsonl '1: hold_not_found'
{ printf '{"type":"deposit","account":"'; head -c 1100000 /dev/zero | tr '\0' x; printf '"}\n'; } >"$files/long.jsonl"
refuses 1 'long.jsonl:1: the line is over 1048576 bytes' "$files/long.jsonl" --no-verify
printf '{"type":"deposit",\0' >"$files/nul.jsonl"
refuses 1 'nul.jsonl:1: holds a NUL byte' "$files/nul.jsonl" --no-verify
: >"$files/empty.csv"
refuses 1 'has no header' "$files/empty.csv" --no-verify
refuses 1 'not a regular file' /dev/null --format csv --name null --no-verify
refuses 2 'say --format csv or json' "$files/no-extension"
refuses 2 "is no name" "$files/no extension.csv"
refuses 2 '--expect is an asset and a sum' "$files/past.jsonl" --expect EUR
is "where ada is" "SELECT balance || ' ' || seq FROM account WHERE id = 'ada'" "8797 4"

say "it stops at what is refused, and goes on when that is mended"
{ echo "$head"; for i in 1 2 3; do echo "deposit,ada,,,$i,,,,s-$i"; done; echo 'withdraw,ada,,,9999,,,,s-4'
  for i in 5 6; do echo "deposit,ada,,,$i,,,,s-$i"; done; } >"$files/stops.csv"
refuses 1 'stops.csv:5: insufficient_funds' "$files/stops.csv" --no-verify
is "what comes before it" "SELECT string_agg(key, ' ' ORDER BY key) FROM journal WHERE key LIKE 's-_'" "s-1 s-2 s-3"
refuses 1 'stops.csv:5: insufficient_funds' "$files/stops.csv" --no-verify
sed -i 's/9999/1/' "$files/stops.csv"
refuses 1 'say --changed' "$files/stops.csv"
import "$files/stops.csv" --changed >"$files/out"
grep -q '6 lines: 3 applied, 3 repeated, 0 refused' "$files/out" || fail "not mended: $(cat "$files/out")"

say "or leaves it out"
{ echo "$head"; echo 'deposit,ada,,,1,,,,k-1'; echo 'withdraw,ada,,,9999,,,,k-2'; echo 'deposit,"a""b",,,1,,,,k-3'
  echo 'deposit,ada,,,1,,,,k-4'; printf 'deposit,nobody,,,1,,,,k-5'; } >"$files/some.csv"
import "$files/some.csv" --keep-going --rejects "$files/rejects.csv" --no-verify >"$files/out" 2>"$files/err"
grep -q '5 lines: 2 applied, 0 repeated, 3 refused' "$files/out" || fail "$(cat "$files/out")"
[[ $(cat "$files/rejects.csv") == "$(sed '2d;5d' "$files/some.csv")" ]] || fail "rejects: $(cat "$files/rejects.csv")"
[[ $(grep -cE 'some.csv:(3: insufficient_funds|4: account: must be|6: account_not_found)' "$files/rejects.csv.reasons") == 3 ]] ||
    fail "reasons: $(cat "$files/rejects.csv.reasons")"
is "nothing is left of them" "SELECT count(*) FROM journal WHERE key IN ('k-2', 'k-3', 'k-5')" 0
sed -i 's/"a""b"/ada/; s/nobody/ada/; s/9999/2/' "$files/rejects.csv"
import "$files/rejects.csv" >"$files/out"
grep -q '3 lines: 3 applied, 0 repeated, 0 refused' "$files/out" || fail "rejects, mended: $(cat "$files/out")"
say "what the database refuses is among the rejects too, with what is refused behind it"
sql "ALTER TABLE journal ADD CONSTRAINT poison CHECK (key <> 'poison')"
{ echo "$head"; echo 'deposit,ada,,,1,,,,p-1'; echo 'deposit,ada,,,1,,,,poison'; echo 'withdraw,ada,,,9999,,,,p-3'; echo 'withdraw,ada,,,1,,,,p-4'; } >"$files/poison.csv"
import "$files/poison.csv" --keep-going --rejects "$files/poisoned.csv" --no-verify >"$files/out" 2>"$files/err"
[[ $(sort "$files/poisoned.csv") == "$(sed '2d;5d' "$files/poison.csv" | sort)" ]] || fail "rejects: $(cat "$files/poisoned.csv")"
grep -q '4 lines: 2 applied, 0 repeated, 2 refused' "$files/out" || fail "not two: $(cat "$files/out")"
sql "ALTER TABLE journal DROP CONSTRAINT poison"

before=$(state)
refuses 1 'some.csv:3: idempotency_key_reused' --check "$files/some.csv" --name again --rejects "$files/check.csv"
[[ $(wc -l <"$files/check.csv") == 4 && $(state) == "$before" ]] || fail "a check of what is refused"

say "a file of $lines lines, killed $kills times, beside workers"
awk 'BEGIN { print "account,user_id,asset,balance"; for (i = 0; i < 500; i++) print "m-" i ",u-" i % 50 ",EUR," i + 100 ".25" }' >"$files/many.csv"
awk -v n="$lines" 'BEGIN { srand(7); print "type,from,to,account,amount_minor,at"
    for (i = 0; i < n; i++) {
        from = int(rand() * 500); to = (from + 1 + int(rand() * 499)) % 500
        at = sprintf("2025-06-%02dT%02d:%02d:%02dZ", 1 + i / 86400, i / 3600 % 24, i / 60 % 60, i % 60)
        if (i % 10 == 0) print "deposit,,,m-" to "," 1 + i % 300 "," at; else print "transfer,m-" from ",m-" to ",," 1 + i % 3 "," at } }' >"$files/moves.csv"
process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
import "$files/many.csv" --at 2025-05-01T00:00:00Z --no-verify >"$files/out"
ctl open-account live --user live --asset EUR >/dev/null
ctl deposit live 100000 >/dev/null
{ i=0; while [[ ! -e $files/stop ]]; do ctl transfer live "m-$((i % 7))" 0.01 --key "live-$i" >/dev/null; i=$((i + 1)); done; echo "$i" >"$files/live"; } &
pids[caller]=$!
line() { sql "SELECT coalesce(max(line), 0) FROM import WHERE name = 'moves.csv'"; }
"$bin/ledgerctl" import "$files/moves.csv" --keep-going --no-verify >"$files/out" 2>"$files/err" &
pid=$! code=0
until_true 20 "it goes on" eval '(($(line) > 0))'
kill -TERM $pid
wait $pid || code=$?
[[ $code == 5 ]] || fail "a stop: code $code"
grep -q 'stopped at .*moves.csv:[0-9]*; run it again' "$files/err" || fail "a stop: $(cat "$files/err")"
met=0
for ((i = 1; i <= kills; i++)); do
    before=$(line) code=0
    "$bin/ledgerctl" import "$files/moves.csv" --keep-going --no-verify >"$files/out" 2>&1 & # no function: its process
    pid=$!
    # At any moment, or when it has stored something.
    if ((i % 2)); then sleep "0.$((RANDOM % 3))$((RANDOM % 10))"; else until_true 20 "it goes on" eval '(($(line) > before))'; fi
    kill -KILL $pid 2>/dev/null || true
    wait $pid 2>/dev/null || code=$?
    [[ $code != 137 ]] || met=$((met + 1))
done
((met == kills)) || fail "$met of $kills kills met it: $(cat "$files/out")"
say "$(line) lines were done when it had died for the last time"
import "$files/moves.csv" --keep-going --no-verify >"$files/out" 2>"$files/err" || fail "it does not go on: $(cat "$files/err")"
touch "$files/stop"
wait "${pids[caller]}" || true
unset 'pids[caller]'
is "each line" "SELECT applied + refused || ' ' || repeated FROM import WHERE name = 'moves.csv'" "$lines 0"
is "each once" "SELECT count(*) - count(DISTINCT key) FROM journal WHERE import = (SELECT id FROM import WHERE name = 'moves.csv')" 0
is "each that is applied" "SELECT (SELECT count(*) FROM journal WHERE import = import.id) - applied FROM import WHERE name = 'moves.csv'" 0
# What was too early for an account that the caller had just paid to is refused; all else is as the file has it.
is "why some are refused" "SELECT refused > 0 FROM import WHERE name = 'moves.csv'" t
grep -vq out_of_order "$files/err" && grep -E 'moves.csv:[0-9]+:' "$files/err" | grep -v out_of_order && fail "refused for another reason"
sql "SELECT split_part(key, ':', 3) FROM journal WHERE import = (SELECT id FROM import WHERE name = 'moves.csv')" >"$files/applied"
want=$(awk -F, -v live="$(cat "$files/live")" 'FILENAME ~ /many/ { if (FNR > 1) sum[$1] = 100 * $4; next }
    FILENAME ~ /applied/ { done[$1] = 1; next }
    done[FNR] { if ($1 == "deposit") sum[$4] += $5; else { sum[$2] -= $5; sum[$3] += $5 } }
    END { for (i = 0; i < live; i++) sum["m-" i % 7]++; for (id in sum) print id, sum[id] }' \
    "$files/many.csv" "$files/applied" "$files/moves.csv" | sort)
differ=$(diff <(echo "$want") <(sql "SELECT id || ' ' || balance FROM account WHERE id ~ '^m-'" | sort)) ||
    fail "balances are not what the files say: $(head -n 20 <<<"$differ")"

say "with events, and without between them; then the books"
printf '%s\n' "$head" 'deposit,ada,,,1,,,,told-1' 'transfer,,ada,bob,1,,,,told-2' >"$files/told.csv"
sed 's/told/quiet/' "$files/told.csv" >"$files/quiet.csv"
ctl deposit ada 1 --key before >/dev/null
import "$files/told.csv" --events --no-verify >"$files/out"
import "$files/quiet.csv" --no-verify >"$files/out"
ctl deposit ada 1 --key after >/dev/null
is "its events" "SELECT count(*) FROM outbox WHERE kind = 0 AND position('told-'::bytea IN body) > 0" 3
is "and those of the other" "SELECT count(*) FROM outbox WHERE kind = 0 AND position('quiet-'::bytea IN body) > 0" 0
process_end relay
process_end worker
"$bin/ledgerctl" verify
sql "UPDATE import SET events = true WHERE name = 'quiet.csv'"
"$bin/ledgerctl" verify >"$files/out" && fail "events that are missing are not missed"
grep -qE 'account ada: in the outbox its event with sequence number [0-9]+ is followed by' "$files/out" || fail "$(cat "$files/out")"
grep -qE 'account bob: its sequence number is [0-9]+, but that of its last event in the outbox' "$files/out" || fail "$(cat "$files/out")"
