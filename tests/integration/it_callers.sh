#!/bin/bash
# Callers of the gateway: keys that an operator makes and takes back, scopes, namespaces of their own, and how many
# requests each may send.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

status() { curl -sS -o "$logs/body" -D "$logs/head" -w '%{http_code}' "$@"; }
as() { local key=$1; shift; status -H "Authorization: Bearer $key" "$@"; }
deposit() { as "$1" -X POST "$http/transactions" -H 'Content-Type: application/json' -H "Idempotency-Key: $2" \
    -d "{\"type\":\"deposit\",\"account\":\"a\",\"amount\":$3}"; }
key() { "$bin/ledgerctl" key "$@" 2>/dev/null; }
header() { tr -d '\r' <"$logs/head" | grep -i "^$1:" | cut -d' ' -f2-; }
metric() { curl -sS "$http/metrics" | grep -F "$1 " | awk '{ print $2 }'; }
start() {
    local before
    before=$(grep -c "HTTP on port" "$logs/gateway.log" 2>/dev/null || true)
    process gateway ledger-gateway
    until_true 15 "the gateway listens" eval '(($(grep -c "HTTP on port" "$logs/gateway.log") > '"${before:-0}"'))'
    http=http://127.0.0.1:$(grep -oE 'HTTP on port [0-9]+' "$logs/gateway.log" | tail -1 | grep -oE '[0-9]+')
}

ledger_begin callers
process relay ledger-relay
process one ledger-worker
await_consuming one
await_leading relay
expect "$(ctl open-account a --user ann --asset EUR --key open)" status applied
export LEDGER_AUTH=key LEDGER_DATABASE_ROLE=ledger_gateway
shop=$(key add shop --scope read,write) till=$(key add till --scope read,write) reader=$(key add reader)
start
until_true 15 "keys are known" eval '[[ $(as "$reader" "$http/users/ann") == 200 ]]'

echo "who shows nothing, or nothing good, is told how"
[[ $(status "$http/users/ann") == 401 && $(header WWW-Authenticate) == 'Bearer realm="ledger"' ]] || fail "$(cat "$logs/head")"
[[ $(as "${shop%?}0" "$http/users/ann") == 401 || $(as "${shop%?}1" "$http/users/ann") == 401 ]] || fail "a wrong key is good"
[[ $(header WWW-Authenticate) == *invalid_token* && $(header Content-Type) == application/problem+json ]] || fail "$(cat "$logs/head")"
[[ $(status "$http/health/live") == 200 && $(status "$http/metrics") == 200 ]] || fail "probes need a key"

echo "a scope is a scope"
[[ $(deposit "$reader" r1 100) == 403 && $(header WWW-Authenticate) == *insufficient_scope*ledger:write* ]] || fail "$(cat "$logs/head")"
[[ $(sql "SELECT count(*) FROM journal WHERE key = 'r1'") == 0 ]] || fail "it was decided all the same"

echo "the same key of two callers is two keys"
[[ $(deposit "$shop" k1 100) == 200 && $(deposit "$till" k1 250) == 200 && $(deposit "$shop" k1 100) == 200 ]] || fail "$(cat "$logs/body")"
[[ $(header Idempotent-Replayed) == true ]] || fail "not replayed"
[[ $(deposit "$shop" k1 250) == 409 ]] || fail "another payload under the key of shop"
[[ $(sql "SELECT string_agg(caller || ' ' || amount, ',' ORDER BY caller) FROM journal WHERE key = 'k1'") == "shop 100,till 250" ]] ||
    fail "the journal has other callers"

echo "rotated and revoked, within a second or two"
id=${shop#lk_} id=${id%%_*}
anew=$(key rotate "$id" --overlap 600)
until_true 5 "the new key is good" eval '[[ $(deposit "$anew" k1 100) == 200 ]]'
[[ $(header Idempotent-Replayed) == true && $(deposit "$shop" k1 100) == 200 ]] || fail "the old key is no more"
key revoke "$id" >/dev/null
until_true 5 "the old key is no good" eval '[[ $(deposit "$shop" k1 100) == 401 ]]'
[[ $(deposit "$anew" k1 100) == 200 ]] || fail "the new key went with the old one"
(($(metric 'ledger_auth_total{result="invalid"}') >= 2 && $(metric 'ledger_auth_total{result="forbidden"}') == 1)) || fail "not counted"
grep -q "${shop##*_}" "$logs"/*.log && fail "a secret is in a log"

echo "so many, and no more"
process_end gateway
export LEDGER_RATE=1 LEDGER_RATE_BURST=5
start
burst() { # KEY: twenty requests over one connection; their codes, counted, and their headers in $logs/heads
    local urls=()
    for _ in {1..20}; do urls+=(-o "$logs/body" "$http/users/ann"); done
    curl -sS -H "Authorization: Bearer $1" -D "$logs/heads" -w '%{http_code}\n' "${urls[@]}" | sort | uniq -c | awk '{ print $2 "x" $1 }' | xargs
}
until_true 15 "keys are known" eval '[[ $(as "$till" "$http/users/ann") == 200 ]]'
codes=$(burst "$reader")
[[ $codes =~ ^200x([5-9]|1[0-9])\ 429x[0-9]+$ ]] || fail "$codes"
limited=$(tr -d '\r' <"$logs/heads" | awk '/^HTTP/ { on = / 429/ } on')
[[ $limited == *'Retry-After: 1'* && $limited == *'RateLimit-Policy: "caller";q=5;w=5'* && $limited == *'RateLimit: "caller";r=0;t=5'* ]] || fail "$limited"
[[ $(as "$till" "$http/users/ann") == 200 ]] || fail "another's requests count for till"
(($(metric 'ledger_rate_limited_total{by="caller"}') >= 1)) || fail "not counted"
[[ $(burst wrong) =~ ^401x[0-9]+\ 429x[0-9]+$ ]] || fail "one who guesses is not limited"
until_true 10 "it ends" eval '[[ $(as "$reader" "$http/users/ann") == 200 ]]'
echo ok
