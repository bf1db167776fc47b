#!/bin/bash
# The keys of the gateway's callers as an operator meets them: made, shown once, listed, rotated, revoked; and no
# secret in the database, in an argument or in a list.
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

key() { "$bin/ledgerctl" key "$@"; }

ledger_begin keys

echo "a key is shown once"
made=$(key add shop --scope read,write --note 'the shop' 2>"$logs/add.err")
[[ $made =~ ^lk_([0-9a-f]{16})_([0-9a-f]{64})$ ]] || fail "add printed '$made'"
id=${BASH_REMATCH[1]} secret=${BASH_REMATCH[2]}
grep -q "key $id; this is the only time" "$logs/add.err" || fail "$(cat "$logs/add.err")"
desk=$(key add desk --expires-in 3600 --output json)
[[ $(python3 -c 'import json,sys; k = json.load(sys.stdin); print(k["key"].split("_")[1] == k["id"])' <<<"$desk") == True ]] || fail "$desk"
[[ $(key list) == *"$id"*shop*read,write*"in force"*"the shop"* ]] || fail "$(key list)"
[[ $(key list) == *desk*read\ *"in force"* ]] || fail "$(key list)"
[[ $(key list --output json) != *"$secret"* && $(key list) != *"$secret"* ]] || fail "the list shows a secret"
[[ $(sql 'SELECT * FROM api_key') != *"$secret"* ]] || fail "the database holds a secret"
[[ $(sql "SELECT digest = sha256(decode('$secret', 'hex')) FROM api_key WHERE id = '$id'") == t ]] || fail "the digest is another"

echo "rotated: both are good for a while"
anew=$(key rotate "$id" --overlap 60 2>/dev/null)
[[ $anew =~ ^lk_([0-9a-f]{16})_ && ${BASH_REMATCH[1]} != "$id" ]] || fail "rotate printed '$anew'"
new_id=${BASH_REMATCH[1]}
[[ $(sql "SELECT replaces, caller, may_read, may_write, note FROM api_key WHERE id = '$new_id'") == "$id|shop|t|t|the shop" ]] ||
    fail "the new key is another's"
[[ $(sql "SELECT expires_at BETWEEN now() + interval '50 s' AND now() + interval '61 s' FROM api_key WHERE id = '$id'") == t ]] ||
    fail "the old key does not end in a minute"

echo "revoked"
[[ $(key revoke "$id") == "key $id is revoked" ]] || fail "not revoked"
key revoke "$id" 2>/dev/null && fail "revoked twice"
key rotate "$id" 2>/dev/null && fail "a revoked key was rotated"
[[ $(key list --output json | python3 -c 'import json,sys
print(sorted((k["caller"], k["scope"], k["state"]) for k in json.load(sys.stdin)["keys"]))') == \
    "[('desk', 'read', 'in force'), ('shop', 'read,write', 'in force'), ('shop', 'read,write', 'revoked')]" ]] || fail "$(key list)"

echo "mistakes are said"
code() { local code=0; "$@" >/dev/null 2>&1 || code=$?; echo $code; }
"$bin/ledgerctl" key add lost --scope read >/dev/full 2>"$logs/full.err" && fail "a key that nobody got is none"
grep -q 'could not write to standard output: No space left' "$logs/full.err" || fail "$(cat "$logs/full.err")"
[[ $(code key add 'two words') == 2 && $(code key add shop --scope all) == 2 && $(code key add shop --expires-in 0) == 2 ]] ||
    fail "a mistake was taken"
[[ $(code key help) == 2 && $(code key rotate 0000000000000000) == 1 && $(code key revoke none) == 1 ]] || fail "wrong codes"
echo ok
