#!/bin/bash
# TLS to every server, and to the gateway: a certificate of another CA, one that has expired, one for another host, and
# plain text are each refused, in words that say what to do; the right ones work; new files are taken without a restart.
# The servers of the test are told to speak TLS as well, at ports of its own, and not to when it ends.
cd "$(dirname "$0")/../.." || exit 1
source tests/whole.sh
source tests/certificates.sh

state_of() { "$servers" status "$instance" "$1" | grep -oE '[0-9]+$'; }
redis() { redis-cli -h 127.0.0.1 -p "$redis_plain" "$@"; }
url_with() { echo "$1?cacertfile=$pki/$2.pem${3:+&certfile=$pki/$3.pem&keyfile=$pki/$3.key}"; }
amqp_url() { url_with "amqps://guest:guest@$1:$2/" "${@:3}"; } # HOST PORT CA [OWN]
redis_url() { url_with "rediss://$1:$redis_port/0" "${@:2}"; } # HOST CA [OWN]
database_url() { echo "postgresql://ledger:ledger@$1:$postgres_port/$database?sslmode=verify-full&sslrootcert=$pki/$2.pem"; }

# refused WORDS COMMAND...: it fails, and says so.
refused() {
    local words=$1 said; shift
    said=$("$@" 2>&1) && fail "should be refused ($words): $* said $said"
    [[ $said =~ $words ]] || fail "should say '$words': $said"
}
by_amqp() { LEDGER_AMQP_URL=$1 "$bin/ledgerctl" --timeout 3000 get-balance nobody; }
by_sql() { LEDGER_DATABASE_URL=$1 "$bin/ledgerctl" policy list; }

# --- the servers

listener() { # PORT CERTIFICATE MORE: in Erlang
    echo "ok = rabbit_networking:start_ssl_listener({\"127.0.0.1\", $1}, [{certfile, \"$pki/$2.pem\"}, {keyfile, \"$pki/$2.key\"},
        {cacertfile, \"$pki/ca.pem\"}$3], 2)"
}
begin_rabbitmq() {
    "$servers" rabbitmqctl "$instance" eval "$(listener "$amqp_right" right ''), $(listener "$amqp_expired" expired ''),
        $(listener "$amqp_elsewhere" elsewhere ''), $(listener "$amqp_mutual" right ', {verify, verify_peer}, {fail_if_no_peer_cert, true}'), ok." \
        >"$logs/rabbitmqctl.log" 2>&1 || { cat "$logs/rabbitmqctl.log"; fail "RabbitMQ does not speak TLS"; }
}
end_rabbitmq() {
    local port stops=''
    for port in "$amqp_right" "$amqp_expired" "$amqp_elsewhere" "$amqp_mutual"; do
        stops+="catch rabbit_networking:stop_tcp_listener({\"127.0.0.1\", $port}), "
    done
    "$servers" rabbitmqctl "$instance" eval "${stops}ok."
}
# Both take another certificate while they run.
redis_shows() {
    [[ $(redis config set tls-ca-cert-file "$pki/ca.pem" tls-cert-file "$pki/$1.pem" tls-key-file "$pki/$1.key" \
        tls-auth-clients "${2:-no}" tls-port "$redis_port") == OK ]] || fail "Redis does not take the certificate $1"
}
postgres_shows() {
    psql -X -q "$admin_url" -c "ALTER SYSTEM SET ssl = on" -c "ALTER SYSTEM SET ssl_cert_file = '$pki/$1.pem'" \
        -c "ALTER SYSTEM SET ssl_key_file = '$pki/$1.key'" -c "SELECT pg_reload_conf()" >/dev/null
    until_true 5 "PostgreSQL shows $1" shows "$1" "$postgres_port" -starttls postgres
}
shows() { # CERTIFICATE PORT MORE...: a server does, by now
    [[ $(openssl s_client -connect "127.0.0.1:$2" "${@:3}" </dev/null 2>/dev/null | openssl x509 -noout -serial) == "$(openssl x509 -noout -serial -in "$pki/$1.pem")" ]]
}
at_end() {
    [[ -n ${pki:-} ]] || return # it has not begun
    LEDGER_DATABASE_URL=${admin_url%/*}/$database # as ledger_end knows it
    psql -X -q "$admin_url" -c "ALTER SYSTEM RESET ALL" -c "SELECT pg_reload_conf()" >/dev/null || true
    redis config set tls-port 0 >/dev/null || true
    end_rabbitmq >/dev/null 2>&1 || true
    rm -rf "$pki"
}

ledger_begin tls
database=${LEDGER_DATABASE_URL##*/}
postgres_port=$(state_of postgres) redis_plain=$(state_of redis) amqp_plain=$(state_of rabbitmq)
read -r redis_port amqp_right amqp_expired amqp_elsewhere amqp_mutual gateway_port < <(free_ports 6)
make_certificates "$(psql -X -qAt "$admin_url" -c 'SHOW data_directory')"
begin_rabbitmq & redis_shows right; postgres_shows right; wait $!

# --- RabbitMQ

refused 'signed by no CA in .*other.pem; give the file of its CA' by_amqp "$(amqp_url localhost "$amqp_right" other)"
refused 'signed by no CA that the system trusts' by_amqp "amqps://guest:guest@localhost:$amqp_right/"
refused 'its certificate expired at 20[0-9-]*T[0-9:]*Z; renew it' by_amqp "$(amqp_url localhost "$amqp_expired" ca)"
refused 'its certificate is for elsewhere.example, not for localhost; use such a name' by_amqp "$(amqp_url localhost "$amqp_elsewhere" ca)"
refused 'its certificate is for elsewhere.example, not for 127.0.0.1' by_amqp "$(amqp_url 127.0.0.1 "$amqp_elsewhere" ca)"
refused 'if this is its port for TLS, use amqps://' by_amqp "amqp://guest:guest@127.0.0.1:$amqp_right/"
refused 'does not speak TLS at this port; use its port for TLS, or amqp://' by_amqp "$(amqp_url localhost "$amqp_plain" ca)"
refused 'could not use cacertfile .*nowhere.pem: No such file' by_amqp "$(amqp_url localhost "$amqp_right" nowhere)"
refused 'see certfile and keyfile' by_amqp "$(amqp_url localhost "$amqp_mutual" ca)"
refused 'may be cacertfile=PATH' by_amqp "amqps://guest:guest@localhost:$amqp_right/?verify=verify_none"
echo "RabbitMQ: refused what is wrong"

# --- PostgreSQL

by_sql "$(database_url localhost ca)" >/dev/null || fail "PostgreSQL by TLS"
refused 'signed by no CA in .*other.pem; give the file of its CA' by_sql "$(database_url localhost other)"
refused 'root certificate file .*nowhere.pem. does not exist.*sslrootcert' by_sql "$(database_url localhost nowhere)"
postgres_shows expired
refused 'its certificate expired at 20[0-9-]*T[0-9:]*Z; renew it' by_sql "$(database_url localhost ca)"
postgres_shows elsewhere
refused 'elsewhere.example.* does not match host name .localhost.; use such a name' by_sql "$(database_url localhost ca)"
postgres_shows right
echo "PostgreSQL: refused what is wrong"

# --- Redis: five workers, each with its own trouble, which does not keep it from work

export LEDGER_REDIS_TIMEOUT_MS=2000
troubled() { LEDGER_REDIS_URL=$2 process "$1" ledger-worker; }
told() { until_true 20 "$1 says '$2'" has_logged "$1" "Redis is not used: .*$2"; process_end "$1"; }
troubled other "$(redis_url localhost other)"
troubled plain "redis://localhost:$redis_port/0"
troubled tls "rediss://localhost:$redis_plain/0"
told other 'signed by no CA in .*other.pem; give the file of its CA'
told plain 'if this is its port for TLS, use rediss://'
told tls 'port for TLS'
redis_shows expired
troubled expired "$(redis_url localhost ca)"
told expired 'its certificate expired at 20[0-9-]*T[0-9:]*Z; renew it'
redis_shows elsewhere
troubled elsewhere "$(redis_url 127.0.0.1 ca)"
told elsewhere 'its certificate is for elsewhere.example, not for 127.0.0.1; use such a name'
redis_shows right yes
troubled unknown "$(redis_url localhost ca)"
told unknown 'see certfile and keyfile'
echo "Redis: refused what is wrong"

# --- all of it by TLS, from one end to the other

LEDGER_DATABASE_URL=$(database_url localhost ca)
LEDGER_REDIS_URL=$(redis_url 127.0.0.1 ca right)
cp "$pki/other.pem" "$pki/live.pem"
LEDGER_AMQP_URL=$(amqp_url 127.0.0.1 "$amqp_mutual" live right)
export LEDGER_DATABASE_URL LEDGER_REDIS_URL LEDGER_AMQP_URL
process worker ledger-worker
until_true 20 "the worker is told" has_logged worker 'signed by no CA in .*live.pem'
cp "$pki/ca.pem" "$pki/live.new" && mv "$pki/live.new" "$pki/live.pem"
await_consuming worker
process relay ledger-relay
cp "$pki/right.pem" "$pki/shown.pem"; cp "$pki/right.key" "$pki/shown.key"
LEDGER_HTTP_TLS_CERT=$pki/shown.pem LEDGER_HTTP_TLS_KEY=$pki/shown.key LEDGER_HTTP_PORT=$gateway_port process gateway ledger-gateway
ask() { curl -sS --max-time 10 --cacert "$pki/${CA:-ca}.pem" "$@"; }
gateway=https://localhost:$gateway_port
until_true 20 "the gateway is ready" ask -f "$gateway/health/ready"
await_leading relay
expect "$(ctl open-account ada --user ada --asset EUR)" status applied
expect "$(ctl deposit ada 100.00 --key pay-1)" status applied balance 10000
expect "$(ctl deposit ada 100.00 --key pay-1)" status applied balance 10000
expect "$(ask --json '{"type": "deposit", "account": "ada", "amount": "1.00"}' -H 'Idempotency-Key: pay-2' "$gateway/transactions")" \
    status applied balance 10100
expect "$(ask "$gateway/users/ada/balance")" user_id ada balance 10100
[[ $(sql "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name LIKE 'ledger-%' AND datname = current_database() AND NOT ssl") == 0 ]] ||
    fail "somebody speaks to PostgreSQL in plain text"
[[ $(redis --scan --pattern "$LEDGER_PREFIX:*" | wc -l) -gt 0 ]] || fail "nothing is in Redis"
if has_logged worker 'Redis is not used'; then fail "the worker does without Redis"; fi
"$bin/ledgerctl" health "$gateway/health/live" >/dev/null || fail "ledgerctl health"
echo "one deposit by TLS from end to end"

# Much at once, both ways, through what lies between.
printf '%s\n' '[' >"$logs/batch.json"
for ((i = 0; i < 200; i++)); do
    printf '{"type": "deposit", "idempotency_key": "b-%d", "account": "ada", "amount": "0.01", "metadata": {"note": "%0900d"}}%s\n' $i $i "$([[ $i == 199 ]] || echo ,)"
done >>"$logs/batch.json"
echo ']' >>"$logs/batch.json"
jobs_of=()
for ((i = 0; i < 4; i++)); do
    sed "s/\"b-/\"b$i-/" "$logs/batch.json" >"$logs/batch-$i.json"
    "$bin/ledgerctl" --timeout 20000 batch "$logs/batch-$i.json" >"$logs/batch-$i.log" 2>&1 & jobs_of+=($!)
done
for job in "${jobs_of[@]}"; do wait "$job" || fail "a batch by TLS: $(head -c 300 "$logs"/batch-?.log)"; done
expect "$(ctl get-balance ada)" balance 10900

# --- the gateway

show() { cp "$pki/$1.key" "$pki/new.key"; mv "$pki/new.key" "$pki/shown.key"; cp "$pki/$1.pem" "$pki/new.pem"; mv "$pki/new.pem" "$pki/shown.pem"; until_true 10 "the gateway shows $1" shows "$1" "$gateway_port"; }
CA=other refused 'unable to get local issuer certificate|self.signed certificate' ask "$gateway/health/live"
refused 'Empty reply|reset by peer|Received HTTP/0.9|Recv failure' curl -sS --max-time 10 "http://localhost:$gateway_port/health/live"
refused 'protocol version|unsupported protocol|SSL_ERROR_SYSCALL' curl -sS --max-time 10 --cacert "$pki/ca.pem" --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0 "$gateway/health/live"
show expired
refused 'certificate has expired' ask "$gateway/health/live"
show elsewhere
refused "no alternative certificate subject name matches target host name 'localhost'" ask "$gateway/health/live"
cp "$pki/right.key" "$pki/shown.key" # half of a change
until_true 5 "it says that they do not fit" has_logged gateway 'the old certificate stays in use: .*LEDGER_HTTP_TLS_KEY'
show right
ask -f "$gateway/health/live" >/dev/null || fail "the right certificate, in the end"
[[ $(LEDGER_HTTP_TLS_CERT=$pki/shown.pem "$bin/ledger-gateway" 2>&1) == *'give both'* ]] || fail "a certificate without its key"
echo "the gateway: new certificates without a restart"

for name in gateway relay worker; do process_end $name; done
