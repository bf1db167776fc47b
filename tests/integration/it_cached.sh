#!/bin/bash
# Cached reads through the gateway: what is changed is told anew as soon as its event has come; figures; and of all
# that Redis holds after a run nothing is a balance, nor does any reach a reader of one.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

get() { curl -sS "$http$1" "${@:2}"; }
post() { curl -sS -X POST "$http$1" -H 'Content-Type: application/json' -H "Idempotency-Key: $2" -d "$3"; }
address_of() { echo "http://127.0.0.1:$(grep -oE 'HTTP on port [0-9]+' "$logs/$1.log" | tail -1 | grep -oE '[0-9]+')"; }
metric() { get /metrics | awk -v series="$1" '$1 == series { print $2 }'; }
value_of() { local json; json=$(cat); field "$1" "$json"; }

ledger_begin cached
process relay ledger-relay
process one ledger-worker
process gateway ledger-gateway
process beside ledger-gateway
await_consuming one
await_leading relay
for name in beside gateway; do
    until_true 15 "$name listens" has_logged $name 'HTTP on port'
    http=$(address_of $name)
    until_true 15 "the cache of $name is up" eval '[[ $(metric ledger_cache_up) == 1 ]]'
done
beside=$(address_of beside)

echo "a run: users, money, and every kind of read, twice"
for user in ann bob cyd; do
    post /accounts "open-$user" "{\"account\":\"$user:eur\",\"user_id\":\"$user\",\"asset\":\"EUR\",\"name\":\"Old $user\"}" >/dev/null
    for part in 1 2 3; do
        reply=$(post /transactions "fund-$user-$part" "{\"type\":\"deposit\",\"account\":\"$user:eur\",\"amount\":900719925474${part}}")
        last=$(value_of transaction <<<"$reply")
    done
done
balance=27021597764226 # 9007199254741 + ...42 + ...43
for round in 1 2; do
    for user in ann bob cyd; do
        get "/users/$user" >"$logs/$user.$round"
        [[ $(get "/accounts/$user:eur/balance" | value_of balance) == "$balance" ]] || fail "another balance"
        get "/users/$user/balance" >/dev/null
        get "/accounts/$user:eur" >/dev/null
        get "/accounts/$user:eur/transactions" >/dev/null
    done
    get "/transactions/$last" >"$logs/transaction.$round"
    sleep 0.3 # entries are written behind
done
cmp "$logs/ann.1" "$logs/ann.2" && cmp "$logs/transaction.1" "$logs/transaction.2" || fail "the cached answer is another one"
(($(metric 'ledger_cache_reads_total{kind="user",result="hit"}') >= 3)) || fail "no user was served from the cache"
(($(metric 'ledger_cache_reads_total{kind="transaction",result="hit"}') >= 1)) || fail "no transaction was served from the cache"
get "/transactions/$last" | cmp - "$logs/transaction.1" || fail "the answer from memory is another one"
(($(metric 'ledger_cache_reads_total{kind="transaction",result="near"}') >= 1)) || fail "no transaction was served from memory"
(($(metric ledger_cache_look_seconds_count) >= 8)) || fail "no latency is known"

echo "what the caller has already"
etag=$(get /users/ann -o /dev/null -D - | tr -d '\r' | sed -n 's/^[Ee][Tt]ag: //p')
[[ $(get /users/ann -o /dev/null -w '%{http_code}' -H "If-None-Match: $etag") == 304 ]] || fail "not 304"
get /users/ann -o /dev/null -D - | grep -qi '^cache-control: private, no-cache' || fail "a user may be kept without asking"
get /accounts/ann:eur/balance -o /dev/null -D - | grep -qi '^cache-control: no-store' || fail "a balance may be kept"

echo "a change is told as soon as its event has come, by every gateway"
near() { # PATH: reads it until both gateways have it in memory
    local from
    for from in "$http" "$beside"; do for _ in 1 2 3; do curl -sS "$from$1" >/dev/null; sleep 0.1; done; done
}
told() { [[ $(get "$1" | value_of "$2") == "$3" && $(curl -sS "$beside$1" | value_of "$2") == "$3" ]]; }
near /users/ann
ctl update-user ann --name 'New ann' --key rename >/dev/null
from=$EPOCHREALTIME
until_true 3 "the new name is told" told /users/ann name 'New ann'
awk -v from="$from" -v to="$EPOCHREALTIME" 'BEGIN { printf "  after %.0f ms, with the asking\n", 1000 * (to - from) }'
[[ $(get /users/ann -o /dev/null -w '%{http_code}' -H "If-None-Match: $etag") == 200 ]] || fail "the old tag is still good"
post /accounts open-more '{"account":"ann:usd","user_id":"ann","asset":"USD"}' >/dev/null
until_true 10 "the new account is told" eval '[[ $(get /users/ann) == *ann:usd* && $(curl -sS "$beside/users/ann") == *ann:usd* ]]'
near "/transactions/$last"
get "/transactions/$last" | grep -q reversed_by && fail "reversed already"
reply=$(post /transactions back "{\"type\":\"reverse\",\"transaction\":\"$last\"}")
until_true 3 "the reversal is told" told "/transactions/$last" reversed_by "$(value_of transaction <<<"$reply")"
get /users/ann >/dev/null; get /users/bob >/dev/null; sleep 0.3

echo "nothing in Redis is a balance"
python3 - "$LEDGER_REDIS_URL" "$LEDGER_PREFIX" $balance <<'END'
import re, socket, sys
url, prefix, balance = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
host, port, database = re.fullmatch(r"redis://([^:/]+):(\d+)/(\d+)", url).groups()
link = socket.create_connection((host, int(port))).makefile("rwb")

def ask(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    link.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    link.flush()
    return answer()

def answer():
    line = link.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"*": return [answer() for _ in range(int(rest))]
    if kind != b"$": return rest
    if int(rest) < 0: return None
    body = link.read(int(rest)); link.read(2)
    return body

ask("SELECT", database)
keys, cursor = [], b"0"
while True:
    cursor, part = ask("SCAN", cursor, "MATCH", prefix + b"*", "COUNT", 1000)
    keys += part
    if cursor == b"0": break
cached = [key for key in keys if key.startswith(prefix + b":cache:")]
others = [key for key in keys if key not in cached and not key.startswith(prefix + b":seen:")]
entries = {kind: [key for key in cached if b":cache:" + kind + b"/" in key] for kind in (b"user", b"transaction")}
assert entries[b"user"] and entries[b"transaction"], keys
assert not others, others
numbers = [str(balance).encode(), balance.to_bytes(8, "big"), str(balance - 9007199254743).encode(),
           (balance - 9007199254743).to_bytes(8, "big")]
for key in cached:
    assert ask("TYPE", key) == b"string"
    value = ask("GET", key)
    if value is None: continue # it has ended meanwhile
    for word in [b"balance", b"available", b'"held"', b'"seq"'] + numbers:
        assert word not in value and word not in key, (key, word, value)
# What commands were answered is there too, under their keys, for their repeats. Whatever it says, no balance is read of it.
for key in keys: ask("SET", key, b"\xff" * 64, "KEEPTTL")
print(f"  {len(entries[b'user'])} users, {len(entries[b'transaction'])} transactions, {len(keys)} keys in all")
END
for user in ann bob; do
    [[ $(get "/accounts/$user:eur/balance" | value_of balance) == "$balance" ]] || fail "the balance is another one"
done
[[ $(get /accounts/cyd:eur/balance | value_of balance) == $((balance - 9007199254743)) ]] || fail "the reversed balance is another one"
[[ $(get /users/bob | value_of name) == "Old bob" ]] || fail "garbage was served"

echo "without anyone who hears of changes, and without Redis, reads are right"
process_end beside
process_end gateway
LEDGER_REDIS_URL=redis://127.0.0.1:1/0 process gateway ledger-gateway
until_true 15 "another gateway listens" eval '(($(grep -c "HTTP on port" "$logs/gateway.log") == 2))'
http=$(address_of gateway)
until_true 15 "it answers" eval '[[ $(get /users/ann | value_of name) == "New ann" ]]'
for _ in 1 2 3 4 5; do [[ $(get /users/ann | value_of name) == "New ann" ]] || fail "no answer"; done
[[ $(metric ledger_cache_up) == 0 && $(metric 'ledger_cache_reads_total{kind="user",result="hit"}') == 0 ]] || fail "a cache without Redis"
get /health/ready | grep -q '"redis":"down"' || fail "$(get /health/ready)"
"$bin/ledgerctl" verify >/dev/null || fail "the books are wrong"
echo ok
