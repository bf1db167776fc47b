#!/bin/bash
# Least privilege, tried: each kind of process has a login of its own to PostgreSQL and to RabbitMQ, made by ledgerctl
# from files; a command goes all the way under these; and what each may not do is refused by the servers.
# shellcheck disable=SC2016 # eval sees the conditions each time until_true asks
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh

ledger_begin roles
owner_url=$LEDGER_DATABASE_URL owner_amqp=$LEDGER_AMQP_URL prefix=$LEDGER_PREFIX
folder=$(mktemp -d)
broker() { "$servers" rabbitmqctl "$instance" -q "$@"; }
at_end() {
    local user
    for user in worker relay notary gateway webhooks operator reader; do
        psql -X -q "$owner_url" -c "DROP OWNED BY \"$prefix-$user\"" -c "DROP ROLE \"$prefix-$user\"" 2>/dev/null
    done
    for user in $prefix-{worker,relay,gateway,webhooks,operator} "$prefix.shop"; do broker delete_user "$user"; done
    rm -rf "$folder"
} >/dev/null 2>&1

echo "logins are made from files, twice, and no password is shown or sent"
mkdir "$folder/callers"
for kind in worker relay notary gateway webhooks operator reader callers/$prefix.shop; do
    printf '%s\n' "pw-${kind##*/}-$RANDOM$RANDOM" >"$folder/$kind"
done
password() { cat "$folder/$1"; }
made=$("$bin/ledgerctl" database-logins "$folder")
[[ $(grep -c "is made, a member of ledger_" <<<"$made") == 7 ]] || fail "$made"
[[ $("$bin/ledgerctl" database-logins "$folder") == *"$prefix-worker is there, a member of ledger_worker"* ]] || fail "not twice"
definitions=$("$bin/ledgerctl" broker-definitions "$folder")
for kind in worker relay notary gateway webhooks operator reader "callers/$prefix.shop"; do
    [[ $made$definitions != *"$(password "$kind")"* ]] || fail "the password of $kind was shown"
done
[[ $(psql -X -qAt "$owner_url" -c "SELECT count(*) FROM pg_authid WHERE rolname LIKE '$prefix-%' AND rolpassword LIKE 'SCRAM-SHA-256\$%' AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)") == 7 ]] ||
    fail "a login is more than it should be"
printf 'two\nlines\n' >"$folder/notary.bad"; mkdir "$folder/bad"; mv "$folder/notary.bad" "$folder/bad/notary"
[[ $("$bin/ledgerctl" database-logins "$folder/bad" 2>&1) == *"printable ASCII, on one line" ]] || fail "a password of two lines"
[[ $("$bin/ledgerctl" database-logins /nonexistent 2>&1) == *"No such file"* ]] || fail "a folder that is not there"
broker import_definitions <<<"$definitions" >"$logs/import.log" 2>&1 || fail "$(cat "$logs/import.log")"

echo "worker, relay, notary and gateway do their work under them"
database_of() { echo "postgresql://$prefix-$1:$(password "$1")@${owner_url#*@}"; }
broker_of() { echo "amqp://$prefix-$1:$(password "$1")@${owner_amqp#*@}"; }
as() { # KIND COMMAND...
    printf '%s' "$(database_of "$1")" >"$folder/$1.database"
    LEDGER_DATABASE_URL_FILE=$folder/$1.database LEDGER_AMQP_URL=$(broker_of "$1") "${@:2}"
}
openssl genpkey -algorithm ed25519 -out "$folder/key.pem" 2>/dev/null
export LEDGER_TOPOLOGY=check
as worker process worker ledger-worker
as relay process relay ledger-relay
LEDGER_SIGNING_KEY_FILE=$folder/key.pem as notary process notary ledger-notary
LEDGER_AUTH=key as gateway process gateway ledger-gateway
as webhooks process webhooks ledger-webhooks
await_consuming worker
await_leading relay
until_true 15 "the gateway listens" eval 'grep -q "HTTP on port" "$logs/gateway.log"'
http=http://127.0.0.1:$(grep -oE 'HTTP on port [0-9]+' "$logs/gateway.log" | grep -oE '[0-9]+')
shop_url=amqp://$prefix.shop:$(password "callers/$prefix.shop")@${owner_amqp#*@}
shop() { LEDGER_AMQP_URL=$shop_url LEDGER_USER_ID=$prefix.shop ctl "$@"; }
expect "$(shop open-account ada --user ann --asset EUR)" status applied
expect "$(shop deposit ada 100 --key one)" status applied balance 10000
key=$("$bin/ledgerctl" key add shop --scope read,write 2>/dev/null)
answers() { # STATUS KEY
    [[ $(curl -s -o "$logs/answer" -w '%{http_code}' -H "Authorization: Bearer $2" "$http/users/ann/balance") == "$1" ]]
}
until_true 5 "the gateway answers" answers 200 "$key"
answers 401 none || fail "without a key: $(cat "$logs/answer")"
sql "ALTER TABLE journal ADD CONSTRAINT poison CHECK (key NOT LIKE 'dead-%')"
expect "$(shop withdraw ada 1 --key dead-1)" status failed
until_true 20 "its dead letter" eval '[[ $(queue_depth "$LEDGER_PREFIX.dlq") == 1 ]]'
watch_letters() { "$bin/ledger-dlq" watch --output json >"$logs/watch.log" 2>&1 & pids[watch]=$!; }
as operator watch_letters
watches() { broker list_queues name | grep -q "^$prefix.dlq.watch"; }
until_true 20 "the operator's own queue" watches
expect "$(shop withdraw ada 1 --key dead-2)" status failed
until_true 20 "the operator sees it" grep -q dead-2 "$logs/watch.log"
process_end watch
as operator "$bin/ledger-dlq" drop --key dead-2 --yes --export "$folder/dropped" >"$logs/drop.log" 2>&1 || fail "$(cat "$logs/drop.log")"
[[ $(queue_depth "$LEDGER_PREFIX.dlq") == 1 ]] || fail "not dropped"
as operator "$bin/ledger-dlq" import "$folder/dropped" >"$logs/import-letters.log" 2>&1 || fail "$(cat "$logs/import-letters.log")"
until_true 5 "brought back" eval '[[ $(queue_depth "$LEDGER_PREFIX.dlq") == 2 ]]'
as operator "$bin/ledger-dlq" replay no-such-letter >"$logs/replay.log" 2>&1 && fail "a letter that is not there was replayed"
grep -q '1 of 1 letters are not in the queue' "$logs/replay.log" || fail "$(cat "$logs/replay.log")"
sql "ALTER TABLE journal DROP CONSTRAINT poison"
as operator "$bin/ledger-dlq" replay --all --reason 'the constraint is gone' >"$logs/replay.log" 2>&1 || fail "$(cat "$logs/replay.log")"
until_true 20 "its outcome" eval '[[ $(sql "SELECT count(*) FROM journal WHERE key = '\''dead-1'\''") == 1 ]]'
"$bin/ledgerctl" verify >"$logs/verify.log" 2>&1 || fail "$(cat "$logs/verify.log")"

echo "PostgreSQL refuses the rest"
query() { psql -X -qAt -v ON_ERROR_STOP=1 "$(database_of "$1")" -c 'SET search_path TO ledger' -c "$2" 2>&1; }
may() { query "$1" "$2" >"$logs/query" || fail "$1 may not $2: $(cat "$logs/query")"; }
may_not() {
    local kind=$1 statement; shift
    for statement; do
        query "$kind" "$statement" >"$logs/query" && fail "$kind may $statement"
        grep -qE 'permission denied|must be owner|must be superuser|must be member|must have admin|must be a superuser' "$logs/query" || fail "$kind, $statement: $(cat "$logs/query")"
    done
}
may worker 'SELECT count(*) FROM journal'
may_not worker 'UPDATE journal SET amount = 1' 'DELETE FROM journal' 'TRUNCATE journal' 'DELETE FROM account' \
    "UPDATE account SET id = 'mine'" 'DELETE FROM outbox' 'UPDATE outbox SET body = body' 'INSERT INTO checkpoint DEFAULT VALUES' \
    'INSERT INTO policy_rule DEFAULT VALUES' 'UPDATE policy SET enabled = false' 'SELECT * FROM api_key' \
    'ALTER TABLE journal DISABLE TRIGGER ALL' 'SET ROLE ledger_operator' 'CREATE TABLE ledger.mine ()' 'GRANT ledger_relay TO CURRENT_USER' \
    "SET ledger.rewrite_history = on; DELETE FROM journal" "COPY journal TO PROGRAM 'true'" 'SET session_replication_role = replica'
may relay 'SELECT count(*) FROM outbox'
may_not relay 'UPDATE account SET balance = 1' 'SELECT balance FROM account' 'INSERT INTO journal SELECT * FROM journal' 'SELECT * FROM journal' \
    'INSERT INTO account_delta VALUES (1, 1)' 'INSERT INTO outbox DEFAULT VALUES' 'UPDATE outbox_0 SET body = body' 'DELETE FROM outbox'
may notary 'SELECT count(*) FROM checkpoint'
may_not notary 'UPDATE checkpoint SET root = root' 'DELETE FROM checkpoint_leaf' 'UPDATE account SET balance = 1' 'DELETE FROM journal'
may gateway 'SELECT count(*) FROM api_key'
may_not gateway 'SELECT * FROM account' 'SELECT * FROM journal' 'UPDATE api_key SET revoked_at = NULL' "INSERT INTO api_key (id) VALUES ('x')"
may webhooks 'SELECT count(*) FROM webhook_endpoint'
may_not webhooks 'SELECT * FROM account' 'UPDATE account SET balance = 1' 'SELECT * FROM journal' 'INSERT INTO webhook_endpoint DEFAULT VALUES' 'SELECT * FROM api_key'
may operator 'SELECT count(*) FROM operation'
may_not operator 'UPDATE account SET balance = 1' 'DELETE FROM journal' 'DELETE FROM operation' 'SELECT * FROM api_key'
may reader 'SELECT count(*) FROM account'
may_not reader 'UPDATE account SET balance = 1' 'DELETE FROM journal' 'INSERT INTO account_delta VALUES (1, 1)' 'TRUNCATE outbox' \
    "INSERT INTO asset VALUES ('X', 1)" 'UPDATE outbox_cursor SET position = 0' 'SELECT * FROM api_key'

echo "nor does its owner change the journal by a slip"
for statement in 'UPDATE journal SET amount = amount' 'DELETE FROM journal' 'TRUNCATE journal' 'DELETE FROM checkpoint' 'UPDATE checkpoint_leaf SET head = head'; do
    psql -X -q -v ON_ERROR_STOP=1 "$owner_url" -c 'SET search_path TO ledger' -c "$statement" >"$logs/query" 2>&1 && fail "the owner may $statement"
    grep -q 'is refused: rows are only added' "$logs/query" || fail "the owner, $statement: $(cat "$logs/query")"
done

echo "RabbitMQ refuses the rest"
try() { /usr/bin/python3 tests/integration/roles.py "$@" || fail "as $1"; }
p=$prefix
foreign=(-declare:mine -exchange:mine "-exchange:$p.other" -declare:"$p.other" "-delete:$p.commands.0" "-bind:$p.dlq<$p.events")
try "$p.shop" "$(password "callers/$p.shop")" "+reply:$p.commands" "+publish:$p.commands/ada" "-publish:$p.events/x" "-publish:$p.dlx/x" \
    "-publish:/$p.commands.0" "-publish:$p.commands.shards/x" "-get:$p.commands.0" "-consume:$p.commands.1" "-get:$p.dlq" "-purge:$p.dlq" "${foreign[@]}"
try "$p-worker" "$(password worker)" "+consume:$p.commands.0" "-publish:$p.commands/ada" "-publish:$p.events/x" "-get:$p.dlq" "-purge:$p.dlq" "${foreign[@]}"
# The relay reads the dead letters, to say how old they are; at RabbitMQ's, who may read a queue may empty it.
try "$p-relay" "$(password relay)" "+publish:$p.events/x" "-publish:$p.commands/ada" "-get:$p.commands.0" "${foreign[@]}"
try "$p-gateway" "$(password gateway)" "+reply:$p.commands" "-publish:$p.events/x" "-publish:/$p.commands.0" "-get:$p.commands.0" "-get:$p.dlq" "-purge:$p.dlq" "${foreign[@]}"
try "$p-webhooks" "$(password webhooks)" "+consume:$p.webhooks" "-publish:$p.commands/ada" "-publish:$p.events/x" "-get:$p.commands.0" "-get:$p.dlq" "-purge:$p.dlq" "${foreign[@]}"
try "$p-operator" "$(password operator)" "+publish:$p.commands/ada" "+get:$p.dlq" "-publish:$p.events/x" "-publish:/$p.commands.0" "-get:$p.commands.0" \
    -declare:mine "-delete:$p.commands.0"

echo "and no password is in a log"
for kind in worker relay notary gateway webhooks operator "callers/$prefix.shop"; do
    ! grep -rqF "$(password "$kind")" "$logs" || fail "the password of $kind is in $(grep -rlF "$(password "$kind")" "$logs")"
done
for name in webhooks gateway worker relay notary; do process_end $name 20; done
