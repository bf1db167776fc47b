#!/bin/bash
# An account's past as an operator asks for it: balances of a time and of a transaction, pages of entries, and
# statements that add up.
# shellcheck disable=SC2016 # eval sees the condition each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

ledger_begin history
process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
tx() { field transaction "$1"; }
as_of() { ctl get-balance "$1" --as-of "$2"; }
same() { [[ $2 == "$3" ]] || fail "$1: $2, not $3"; }
entries() { grep -oE '"seq":[0-9]+' <<<"$1" | cut -d: -f2 | paste -sd ' '; }

expect "$(ctl open-account zoe --user zoe --asset EUR)" status applied
opened=$(ctl open-account alice --user alice --asset EUR)
ctl open-account bob --user bob --asset EUR >/dev/null
one=$(ctl deposit alice 10 --metadata '{"invoice":"A-17"}')
two=$(ctl transfer alice bob 4 --key two --app-id shop)
three=$(ctl hold alice 5)
four=$(ctl capture "$(tx "$three")" 2 --to bob)
five=$(ctl reverse "$(tx "$two")" 1)
other=$(ctl deposit zoe 1)
six=$(ctl freeze-account alice --direction in)
expect "$six" status applied seq 6

echo "as of a transaction, and of a time"
expect "$(as_of alice "$(tx "$opened")")" status applied balance 0 held 0 available 0 seq 0
expect "$(as_of alice "$(tx "$one")")" balance 1000 seq 1 transaction "$(tx "$one")"
expect "$(as_of alice "$(tx "$two")")" balance 600 held 0 seq 2
expect "$(as_of alice "$(tx "$three")")" balance 600 held 500 available 100 seq 3
expect "$(as_of alice "$(field timestamp "$four")")" balance 400 held 0 seq 4 transaction "$(tx "$four")"
expect "$(as_of bob "$(tx "$five")")" balance 500 seq 3
expect "$(as_of alice "$(tx "$other")")" balance 500 seq 5 transaction "$(tx "$five")" # it did not touch her
expect "$(as_of bob "$(tx "$opened")")" status rejected error account_not_found
expect "$(as_of alice 2026-01-01T00:00:00Z)" status rejected code 404 error account_not_found
expect "$(as_of alice 2100-01-01T00:00:00Z)" balance 500 seq 6
expect "$(as_of alice 019aaf11-2233-7444-8555-66778899aabb)" status rejected error transaction_not_found
expect "$(as_of world:EUR "$(tx "$one")")" status rejected error system_account
expect "$(as_of nobody "$(tx "$one")")" status rejected error account_not_found
"$bin/ledgerctl" get-balance alice --as-of "$(tx "$one")" | grep -q "^after  *$(tx "$one")" || fail "no table"

echo "pages"
all=$(ctl list-transactions alice)
same "youngest first" "$(entries "$all")" "6 5 4 3 2 1"
same "no cursor" "$(field cursor "$all")" ""
page=$(ctl list-transactions alice --limit 4)
same "a page" "$(entries "$page")" "6 5 4 3"
same "the next" "$(entries "$(ctl list-transactions alice --limit 4 --cursor "$(field cursor "$page")")")" "2 1"
page=$(ctl list-transactions alice --order asc --limit 3)
same "the oldest" "$(entries "$page")" "1 2 3"
same "the next" "$(entries "$(ctl list-transactions alice --order asc --limit 3 --cursor "$(field cursor "$page")")")" "4 5 6"
expect "$(ctl list-transactions alice --cursor "$(field cursor "$page")")" status failed error malformed
same "its reason" "$(field message "$(ctl list-transactions alice --cursor "$(field cursor "$page")")")" \
    "cursor: is from no reply to this question"
same "of a kind" "$(entries "$(ctl list-transactions alice --kind transfer)")" 2
same "of a trace" "$(entries "$(ctl list-transactions alice --trace "$(field trace_id "$four")")")" 4
same "of a time" "$(entries "$(ctl list-transactions alice --order asc --from "$(field timestamp "$two")" --to "$(field timestamp "$four")")")" "2 3"
expect "$(ctl list-transactions alice --kind transfer)" direction debit counterparty bob amount 400 balance 600 \
    idempotency_key two app_id shop type transfer
expect "$(ctl list-transactions alice --kind reverse)" direction credit reverses "$(tx "$two")" amount 100
expect "$(ctl list-transactions alice --kind capture)" direction debit hold "$(tx "$three")" held 0
expect "$(ctl list-transactions alice --kind deposit)" counterparty world:EUR invoice A-17
same "no direction" "$(field direction "$(ctl list-transactions alice --kind hold)")" ""
same "none" "$(ctl list-transactions alice --kind close_account | grep -o '"transactions":\[\]')" '"transactions":[]'
expect "$(ctl list-transactions world:EUR)" status rejected error system_account
expect "$(ctl list-transactions nobody)" status rejected error account_not_found
"$bin/ledgerctl" list-transactions alice --limit 1 | grep -q 'there is more: --cursor [0-9a-f]\{32\}' || fail "no table"

echo "statements"
whole=$(ctl statement alice)
same "it adds up" "$(field adds_up "$whole")" true
same "all of it" "$(entries "$whole")" "0 1 2 3 4 5 6 6"
part=$(ctl statement alice --from "$(field timestamp "$two")" --to "$(field timestamp "$five")")
same "a part" "$(entries "$part")" "1 2 3 4 4"
same "its ends" "$(grep -oE '"(opening|closing)":\{"balance":[0-9]+' <<<"$part" | paste -sd ' ')" \
    '"opening":{"balance":1000 "closing":{"balance":400'
same "since before it was opened" "$(entries "$(ctl statement alice --from 2026-01-01T00:00:00Z)")" "0 1 2 3 4 5 6 6"
same "a time without entries" "$(entries "$(ctl statement alice --from 2100-01-01T00:00:00Z)")" "6 6"
same "of before it began" "$(field error "$(ctl statement alice --to 2026-01-01T00:00:00Z)")" ""
"$bin/ledgerctl" statement alice --to 2026-01-01T00:00:00Z 2>/dev/null && fail "a statement of nothing"
"$bin/ledgerctl" statement world:EUR 2>/dev/null && fail "a statement of the world"
"$bin/ledgerctl" statement alice | grep -qE '^ +6 closing +500 ' || fail "no table"
for ((i = 0; i < 450; i++)); do "$bin/ledgerctl" deposit zoe 0.01 --key "z$i" --no-wait; done
until_true 20 "all of them" eval '[[ $(field seq "$(ctl get-balance zoe)") == 451 ]]'
same "over pages" "$(entries "$(ctl statement zoe)" | wc -w)" 453
sql "UPDATE journal SET credit_balance = 7 WHERE key = 'z300' AND command = 2"
"$bin/ledgerctl" statement zoe >/dev/null 2>&1 && fail "it does not add up"
sql "UPDATE journal SET credit_balance = 401 WHERE key = 'z300' AND command = 2"
"$bin/ledgerctl" statement zoe >/dev/null || fail "it adds up"

process_end relay 5
process_end worker 5
"$bin/ledgerctl" verify
