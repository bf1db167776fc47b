#!/bin/bash
# The policy as an operator meets it: rules, what they do to callers whom the broker knows, and what is left to see
# of it: replies, log, metrics.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

policy() { "$bin/ledgerctl" policy "$@" 2>&1; }
as() { LEDGER_USER_ID=$1 ctl "${@:2}" --timeout 10000; }
denials() {
    local worker
    for worker in one two; do
        curl -s "http://127.0.0.1:$(grep -oE 'health on port [0-9]+' "$logs/$worker.log" | grep -oE '[0-9]+')/metrics"
    done | awk -v series="ledger_denials_total{type=\"$1\",reason=\"$2\"}" '$1 == series { sum += $2 } END { print sum + 0 }'
}
# What the docs say: a change holds for what is decided half a second later. A little more for the machine.
settle() { sleep 0.7; }

ledger_begin forbidden
process relay ledger-relay
export LEDGER_LOG_COMMANDS=none # denials are told all the same
process one ledger-worker
process two ledger-worker
await_consuming one
await_consuming two
await_leading relay
for account in ada ada:usd bob; do
    asset=EUR; [[ $account == *usd ]] && asset=USD
    expect "$(ctl open-account $account --user ann --asset $asset --key "open-$account")" status applied
    expect "$(ctl deposit $account 100 --key "fund-$account")" status applied
done

echo "rules are made and tried before anything is forbidden"
[[ $(policy enable) == *"it would forbid everything"* ]] || fail "a policy without rules was enabled"
[[ $(policy allow guest withdraw,hold,batch,get_balance 'ada*' --asset EUR) == "rule 1 is there" ]] || fail "no rule 1"
[[ $(policy allow guest transfer bob --asset EUR --max-amount 20 --daily-limit 50 --note 'till 3') == "rule 2 is there" ]] || fail "no rule 2"
[[ $(policy allow guest transfer 'x y') == *"neither an account"* ]] || fail "an account with a space was taken"
[[ $(policy allow guest teleport bob) == *"not commands"* ]] || fail "an unknown command was taken"
[[ $(policy allow guest transfer bob --daily-limit 5) == *"needs --asset"* ]] || fail "a limit of no asset was taken"
[[ $(policy allow guest transfer bob --asset EUR --max-amount 0.001) == *"fits the asset"* ]] || fail "a tenth of a cent was taken"
[[ $(policy test guest withdraw ada) == "allowed, by rule 1"*"the policy is off"* ]] || fail "$(policy test guest withdraw ada)"
[[ $(policy test guest withdraw ada:usd) == "forbidden: no rule matches"* ]] || fail "USD is allowed"
[[ $(policy test guest transfer bob 20.00) == "allowed, by rule 2"* ]] || fail "20.00 is not allowed"
[[ $(policy test guest transfer bob 20.01) == "forbidden: the amount is over"* ]] || fail "20.01 is allowed"
[[ $(policy test - withdraw ada) == "forbidden: no rule"* ]] || fail "nobody is allowed"
expect "$(ctl policy test guest transfer bob 20.01)" allowed false enabled false
expect "$(ctl policy test guest withdraw ada)" allowed true rule 1
"$bin/ledgerctl" policy test guest withdraw bob >/dev/null && fail "what is forbidden exits with 0"
[[ $(policy list) == *"the policy is off"*"   2  guest "*bob*EUR*20.00*50.00*transfer*"# till 3"* ]] || fail "$(policy list)"
ctl policy list | python3 -c 'import json,sys
p = json.load(sys.stdin)
assert p["enabled"] is False and [r["rule"] for r in p["rules"]] == [1, 2]
assert p["rules"][1]["daily_limit"] == 5000 and "max_amount" not in p["rules"][0]'
expect "$(ctl withdraw bob 1 --key off)" status applied

echo "on: who is not known to the broker may nothing, whatever they claim"
[[ $(policy enable) == "the policy is on"* ]] || fail "not enabled"
settle
trace=4bf92f3577b34da6a3ce929d0e0e4736
expect "$(ctl withdraw ada 1 --key anonymous --trace-id $trace)" status rejected code 403 error forbidden
expect "$(ctl withdraw ada 1 --key claimed --app-id guest)" status rejected code 403 error forbidden
[[ -z $(as somebody withdraw ada 1 --key lied --timeout 2000) ]] || fail "the broker took a foreign user_id"
expect "$(as guest withdraw ada 1 --key known)" status applied balance 9900
expect "$(as guest withdraw ada 100 --key funds)" status rejected error insufficient_funds
expect "$(as guest withdraw bob 1 --key other)" status rejected error forbidden
expect "$(as guest deposit ada 1 --key into)" status rejected error forbidden
expect "$(as guest get-balance ada)" balance 9900
expect "$(as guest get-balance bob)" status rejected code 403 error forbidden
expect "$(as guest get-user ann)" status rejected error forbidden
leg() { printf '{"type":"%s","idempotency_key":"%s",%s}' "$1" "$2" "$3"; }
batch="[$(leg withdraw b/1 '"account":"ada","amount":100'), $(leg withdraw b/2 '"account":"bob","amount":100')]"
expect "$(as guest batch - --key b1 <<<"$batch")" status rejected code 403 error forbidden failed 1
expect "$(as guest get-balance ada)" balance 9900
results=$(as guest batch - --key b2 --independent <<<"$batch")
[[ $results == *'"b/1","status":"applied"'*'"b/2","status":"rejected","code":403'* ]] || fail "$results"

echo "denials are counted and logged"
[[ $(denials withdraw no_rule) == 5 ]] || fail "$(denials withdraw no_rule) denials of withdraw"
[[ $(denials get_user no_rule) == 1 ]] || fail "$(denials get_user no_rule) denials of get_user"
cat "$logs"/{one,two}.log | grep '"denied"' | grep '"type":"withdraw"' | grep '"account":"ada"' | grep '"reason":"no_rule"' |
    grep '"idempotency_key":"anonymous"' | grep -q "\"trace_id\":\"$trace\"" || fail "a denial is not in the log"
cat "$logs"/{one,two}.log | grep '"denied"' | grep '"user_id":"guest"' | grep -q '"account":"bob"' || fail "whose denial?"

echo "a refusal is the answer for ever; a change holds at once"
[[ $(policy allow guest withdraw bob) == "rule 3 is there" ]] || fail "no rule 3"
settle
expect "$(as guest withdraw bob 1 --key other)" status rejected code 403 error forbidden replayed true
expect "$(as guest withdraw bob 1 --key other-2)" status applied
redis-cli -u "$LEDGER_REDIS_URL" flushall >/dev/null
expect "$(as guest withdraw bob 1 --key other)" status rejected code 403 error forbidden replayed true
policy remove 3 >/dev/null
settle
expect "$(as guest withdraw bob 1 --key other-3)" status rejected error forbidden

echo "limits: a command, a day"
expect "$(as guest transfer bob ada 20.01 --key t0)" status rejected code 403 error forbidden
expect "$(as guest transfer bob ada 20 --key t1)" status applied
expect "$(as guest transfer bob ada 20 --key t1)" status applied replayed true
expect "$(as guest transfer bob ada 20 --key t2)" status applied
[[ $(policy test guest transfer bob 10) == "allowed, by rule 2" ]] || fail "10 are left"
[[ $(policy test guest transfer bob 10.01) == "forbidden: the amount is over"* ]] || fail "more than 10 are left"
expect "$(as guest transfer bob ada 10.01 --key t3)" status rejected error forbidden
expect "$(as guest transfer bob ada 10 --key t4)" status applied
expect "$(as guest transfer bob ada 0.01 --key t5)" status rejected error forbidden
[[ $(denials transfer limit) == 3 ]] || fail "$(denials transfer limit) denials of transfer"
[[ $(sql 'SELECT sum(used) FROM policy_usage') == 5000 ]] || fail "another sum is used"

echo "the ledger itself is always allowed: a hold expires"
hold=$(as guest hold ada 1 --expires-in 1 --key h1)
expect "$hold" status applied held 100
until_true 20 "its expiry" eval '[[ $(field held "$(as guest get-balance ada)") == 0 ]]'
[[ $(denials expire_hold no_rule) == 0 ]] || fail "the ledger forbade itself something"

echo "what is scheduled is asked about again when it is due"
at() { date -u -d "+$1 seconds" +%Y-%m-%dT%H:%M:%S.%NZ; }
policy allow guest withdraw bob --asset EUR --max-amount 2 >/dev/null
policy allow guest get_transaction '*' >/dev/null
settle
expect "$(ctl withdraw bob 1 --key s0 --not-before "$(at 2)")" status rejected error forbidden
kept=$(as guest withdraw bob 1 --key s1 --not-before "$(at 2)")
much=$(as guest withdraw bob 2.01 --key s2 --not-before "$(at 2)")
expect "$kept" status scheduled code 202
expect "$much" status scheduled
state() { field state "$(as guest get-transaction "$(field transaction "$1")")"; }
until_true 20 "its execution" eval '[[ $(state "$kept") == executed ]]'
until_true 20 "its refusal" eval '[[ $(state "$much") == refused ]]'
gone=$(as guest withdraw bob 1 --key s3 --not-before "$(at 3)")
expect "$gone" status scheduled
policy remove 4 >/dev/null
until_true 20 "its refusal" eval '[[ $(state "$gone") == refused ]]'
[[ $(sql "SELECT string_agg(result, ' ') FROM journal WHERE scheduled IS NOT NULL AND result IS NOT NULL") == "forbidden forbidden" ]] || fail "refused for another reason"

echo "who scheduled it takes it back"
mine=$(as guest withdraw ada 1 --key mine --not-before "$(at 3600)")
expect "$mine" status scheduled
expect "$(ctl cancel "$(field transaction "$mine")" --key not-mine)" status rejected error forbidden
expect "$(as guest cancel "$(field transaction "$mine")" --key no-rule)" status rejected error forbidden
policy allow guest cancel ada >/dev/null
settle
expect "$(as guest cancel "$(field transaction "$mine")" --key taken-back)" status applied
[[ $(state "$mine") == cancelled ]] || fail "it is $(state "$mine")"

echo "a dead letter goes by who replays it"
sql "ALTER TABLE journal ADD CONSTRAINT poison CHECK (key NOT LIKE 'dead-%')"
expect "$(as guest withdraw ada 1 --key dead-1)" status failed error internal
until_true 20 "its dead letter" eval '[[ $(queue_depth "$LEDGER_PREFIX.dlq") == 1 ]]'
sql "ALTER TABLE journal DROP CONSTRAINT poison"
LEDGER_USER_ID=guest "$bin/ledger-dlq" replay --all --reason 'the constraint is gone' >/dev/null
until_true 20 "its outcome" eval '[[ $(sql "SELECT coalesce(result, '\''applied'\'') FROM journal WHERE key = '\''dead-1'\''") == applied ]]'
expect "$(as guest withdraw ada 1 --key dead-1)" status applied replayed true

echo "off again"
policy disable >/dev/null
settle
expect "$(ctl withdraw bob 1 --key off-again)" status applied
expect "$(ctl withdraw ada 1 --key anonymous)" status rejected code 403 error forbidden replayed true

process_end one
process_end two
process_end relay
"$bin/ledgerctl" verify
