#!/bin/bash
# Proofs of every entry of a small ledger, checked by ledgerctl without a server and by a program of a few lines
# that was written from the documentation; altered in every place they are refused. And what was kept of the
# checkpoints outside.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

proof() { "$bin/ledgerctl" proof "$@"; }
check() { env -u LEDGER_DATABASE_URL "$bin/ledgerctl" check-proof "$1" --public-key "$logs/public.pem"; }
check_elsewhere() { python3 tests/interop/check_proof.py "$1" "$logs/public.pem"; }
transaction() { field transaction "$(ctl "$@")"; }
kept() { sql "SELECT convert_from(body, 'UTF8') FROM outbox WHERE destination = 'checkpoint.created' ORDER BY id"; }

ledger_begin proof
export LEDGER_EVENT_FORMAT=json
process relay ledger-relay
process worker ledger-worker
await_consuming worker
await_leading relay
for name in ada bob; do expect "$(ctl open-account $name --user $name --asset EUR)" status applied; done
expect "$(ctl open-account fees --user house --kind system --asset EUR)" status applied
first=$(transaction deposit ada 100.00 --metadata '{"invoice":"A-17 \u00e4\"\\"}' --key 'a "quoted" key \ ä' --app-id shop)
unchained=$(transaction deposit fees 1)
hold=$(transaction hold ada 20.00)
expect "$(ctl capture "$hold" 15.00 --to bob)" status applied
expect "$(ctl freeze-account bob --direction out)" status applied
expect "$(ctl unfreeze-account bob)" status applied
expect "$(ctl set-floor bob -- -5.00)" status applied
moved=$(transaction transfer ada bob 7.50)
expect "$(ctl reverse "$moved" 2.50)" status applied
leg() { printf '{"type":"transfer","idempotency_key":"%s","from":"ada","to":"bob","amount":%s}' "$1" "$2"; }
expect "$(ctl batch - --key b1 <<<"[$(leg b1/1 60), $(leg b1/2 40)]")" status applied
expect "$(ctl withdraw ada 1000000)" status rejected
refusal=$(sql "SELECT id FROM journal WHERE result IS NOT NULL")

echo "the fields are those of the program"
fields=$(sed -nE 's/^ *X\([A-Z]+, +[0-9]+, +"([a-z_]+)".*/\1/p' ledger/chain.h | tr '\n' ' ')
known=$(cd tests/interop && python3 -c 'import check_proof; print(*[name for name, _ in check_proof.FIELDS], "")')
[[ $fields == "$known" ]] || fail "check_proof.py knows '$known', chain.h '$fields'"

echo "not before a checkpoint"
proof "$first" 2>"$logs/early" && fail "there is a proof without a checkpoint"
grep -q 'not covered yet: try again after the next checkpoint' "$logs/early" || fail "$(<"$logs/early")"
openssl genpkey -algorithm ed25519 -out "$logs/signing.pem" 2>/dev/null
openssl pkey -in "$logs/signing.pem" -pubout -out "$logs/public.pem"
LEDGER_SIGNING_KEY_FILE=$logs/signing.pem LEDGER_CHECKPOINT_S=1 process notary ledger-notary
until_true 20 "a checkpoint" eval '[[ $(sql "SELECT count(*) FROM checkpoint") == 1 ]]'

echo "each entry of each account"
count=0
while IFS='|' read -r id account; do
    proof "$id" --account "$account" >"$logs/proof.json"
    check "$logs/proof.json" >/dev/null || fail "ledgerctl refuses the proof of $id for $account"
    check_elsewhere "$logs/proof.json" >/dev/null || fail "check_proof.py refuses the proof of $id for $account"
    count=$((count + 1))
done < <(sql "SELECT journal.id, account.id FROM journal JOIN account ON number IN (debit, credit)
               WHERE result IS NULL AND kind = 0")
((count >= 16)) || fail "$count entries only"
proof "$unchained" >"$logs/unchained.json"
check "$logs/unchained.json" >/dev/null || fail "the proof of what is in no chain"
check_elsewhere "$logs/unchained.json" >/dev/null || fail "the same, elsewhere"
grep -q '"idempotency_key": "a \\"quoted\\" key \\\\ ä"' <(proof "$first") || fail "the key: $(proof "$first")"
proof 01a20786-6661-7202-a6de-4fa23c751bb6 2>/dev/null && fail "a proof of nothing"
proof "$refusal" 2>/dev/null && fail "a proof of a refusal"
proof "$first" --account bob 2>/dev/null && fail "a proof for another account"

echo "altered in any place"
proof "$moved" --account bob >"$logs/moved.json"
(cd tests/interop && python3 alter_proof.py "$logs/moved.json" "$logs/public.pem" "$bin/ledgerctl") || fail "an altered proof"
(cd tests/interop && python3 alter_proof.py "$logs/unchained.json" "$logs/public.pem" "$bin/ledgerctl") || fail "an altered proof"
openssl genpkey -algorithm ed25519 2>/dev/null | openssl pkey -pubout -out "$logs/other.pem"
"$bin/ledgerctl" check-proof "$logs/moved.json" --public-key "$logs/other.pem" 2>/dev/null && fail "another key"
"$bin/ledgerctl" check-proof "$logs/moved.json" --public-key "$logs/other.pem" --public-key "$logs/public.pem" >/dev/null ||
    fail "with the key among others"
for text in '' '{' '[]' '{"entry":1}' '{"entry":{},"previous":"","following":[],"position":0,"path":[],"checkpoint":{}}'; do
    printf '%s' "$text" >"$logs/nothing.json"
    check "$logs/nothing.json" 2>/dev/null && fail "'$text' is a proof"
done

echo "what was kept outside"
until_true 20 "the notary's second" eval 'ctl deposit ada 1; [[ $(sql "SELECT count(*) FROM checkpoint") -ge 2 ]]'
process_end notary
kept >"$logs/kept.jsonl"
# verify_says CODE PATTERN ARGUMENTS...
verify_says() {
    local said code=0
    said=$("$bin/ledgerctl" verify "${@:3}" 2>&1) || code=$?
    grep -q "$2" <<<"$said" || fail "it does not say '$2': $said"
    [[ $code == "$1" ]] || fail "code $code, not $1: $said"
}
own=(--public-key "$logs/public.pem") outside=(--checkpoints "$logs/kept.jsonl")
verify_says 0 'the books are right' "${own[@]}" "${outside[@]}"
verify_says 0 'the signatures of the checkpoints were not checked'
verify_says 1 'of which no public key was given' --public-key "$logs/other.pem"
sql "DELETE FROM checkpoint_leaf WHERE checkpoint > 1; DELETE FROM checkpoint WHERE number > 1"
verify_says 0 'the books are right' "${own[@]}" # what was removed at the end cannot be seen from inside
verify_says 1 'checkpoint 2 was kept outside, but is not in the ledger' "${own[@]}" "${outside[@]}"
echo '{"event_type":"checkpoint.created"}' >>"$logs/kept.jsonl"
verify_says 1 'line .* is no checkpoint' "${own[@]}" "${outside[@]}"
process_end worker
process_end relay
echo "it_proof: passed"
