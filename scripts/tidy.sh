#!/bin/sh
# The house rules, as a program. Each fault shows where it is and which rule it breaks; silence is success.
set -u
cd "$(dirname "$0")/.." || exit 2

code='base protocol ledger outbox notary dlq worker client import gateway webhooks ledgerctl'
bad=0
fault() { [ -z "$2" ] || { printf '%s\n  ^ %s\n' "$2" "$1"; bad=1; }; }

# shellcheck disable=SC2086 # a list of folders
sources=$(find $code -name '*.[ch]' 2>/dev/null | sort)
# shellcheck disable=SC2086 # file names without spaces
all=$(find $sources tests -name '*.[ch]' -not -path '*/node_modules/*' 2>/dev/null | sort)
[ -n "$all" ] || exit 0
pure=$(echo "$sources" | grep -E '^((protocol|ledger|outbox)/|import/(line|csv)\.|gateway/(route|ask|answer)\.|webhooks/(endpoint|schedule|signature|split|webhook)\.)' | grep -vE '(_(pg|amqp|redis|http|kafka)\.[ch]|/main\.c)$')
search() { flags=$1 pattern=$2; shift 2; grep -n "$flags" -e "$pattern" "$@" /dev/null; } # never reads stdin

# Includes point one way: base <- protocol <- ledger <- outbox <- dlq, worker and import, which do not know each other.
down() { fault "$1 may not know $2" "$(grep -rnE "#include \"($2)/" "$1" --include='*.[ch]' 2>/dev/null)"; }
down base 'protocol|ledger|outbox|notary|dlq|worker|client|import|gateway|webhooks|ledgerctl|tests'
down protocol 'ledger|outbox|notary|dlq|worker|client|import|gateway|webhooks|ledgerctl|tests'
down ledger 'outbox|notary|dlq|worker|client|import|gateway|webhooks|ledgerctl|tests'
down outbox 'notary|dlq|worker|client|import|gateway|webhooks|ledgerctl|tests'
down notary 'dlq|worker|client|import|gateway|webhooks|ledgerctl|tests'
down dlq 'notary|worker|client|import|gateway|webhooks|ledgerctl|tests'
down worker 'notary|dlq|client|import|gateway|webhooks|ledgerctl|tests'
down client 'ledger|outbox|notary|dlq|worker|import|gateway|webhooks|ledgerctl|tests'
down import 'notary|dlq|worker|client|gateway|webhooks|ledgerctl|tests'
down gateway 'notary|dlq|worker|import|webhooks|ledgerctl|tests'
down webhooks 'notary|dlq|worker|client|import|gateway|ledgerctl|tests'
down ledgerctl 'tests'

# The file name says whether it does I/O, and with what.
only() {
    # shellcheck disable=SC2046 # file names without spaces
    fault "only *_$1.[ch] may touch $2" "$(search -E "#include <($2)" $(echo "$sources" | grep -vE "_($1)\.[ch]$"))"
}
only pg 'libpq|postgres'
only amqp 'amqp|rabbitmq-c'
only redis 'hiredis'
only http 'microhttpd|curl'
only kafka 'librdkafka'
# shellcheck disable=SC2046,SC2086 # file names without spaces, here and below
fault 'msgpack lives in protocol/' "$(search -E '#include <msgpack' $(echo "$sources" | grep -v '^protocol/'))"
# shellcheck disable=SC2046
fault 'jansson lives in protocol/, ledgerctl/ and gateway/jwt.c' \
    "$(search -E '#include <jansson' $(echo "$sources" | grep -vE '^(protocol|ledgerctl)/|^gateway/jwt\.c$'))"
# shellcheck disable=SC2086
fault 'a pure file includes no I/O header' \
    "$(search -E '#include <(sys/(socket|stat|epoll|un|wait|file|mman)|netinet|netdb|unistd|poll|fcntl|signal|pthread|dirent)' $pure)"
# shellcheck disable=SC2086
fault 'a pure file does no I/O' "$(search -wE 'printf|fprintf|puts|fopen|open|read|write|socket' $pure | grep '(' |
    grep -vE '^[^:]+:[0-9]+: *(/?\*|//)' | grep -E '[^_a-z>.](printf|fprintf|puts|fopen|open|read|write|socket)\(')"
# shellcheck disable=SC2046
fault 'leaves return an err; only the top logs' \
    "$(search -E '\blog_(debug|info|warn|error)\(' $(echo "$sources" | grep -E '^(base|protocol|ledger)/' | grep -vE '^base/(log|process)\.'))"
# shellcheck disable=SC2046
fault 'the clock is read in base/clock.c alone' \
    "$(search -wE 'clock_gettime|gettimeofday' $(echo "$sources" | grep -v '^base/clock\.c$'))"
# shellcheck disable=SC2046
fault 'a foreign handle dies in the file that made it' "$(search -wE 'redisReply|msgpack_zone|amqp_envelope_t|json_t' \
    $(echo "$sources" | grep '\.h$' | grep -v '^protocol/'))"

# Size and shape.
# shellcheck disable=SC2086
fault 'over 70 lines: split it' "$(awk 'FNR == 1 { s = 0 } /^\{/ { s = FNR }
    /^\}/ { if (s && FNR - s - 1 > 70) print FILENAME ":" s ": " FNR - s - 1 " lines"; s = 0 }' $all)"
# All but the mains end in one archive, where the linker takes whichever it meets first.
# shellcheck disable=SC2046
fault 'a global function of that name is in another file too' "$(awk '
    FNR == 1 { name = "" }
    /^\{/ { if (name != "" && name != "main") print name, FILENAME; name = "" }
    /^[a-z]/ { name = ""
        if (!/^static / && match($0, /[a-z_0-9]+\(/)) name = substr($0, RSTART, RLENGTH - 1) }
    /;$/ { name = "" }' $(echo "$sources" | grep '\.c$') | sort |
    awk '$1 == last && (before " " $0) !~ / [a-z]*\/main\.c .* [a-z]*\/main\.c$/ { print before; print } { last = $1; before = $0 }')"
# shellcheck disable=SC2046
fault 'a header is one page: 120 lines' \
    "$(awk 'FNR == 121 { print FILENAME }' $(echo "$sources" | grep '\.h$') /dev/null)"
# shellcheck disable=SC2086
fault 'a file opens with a comment that says why it exists' \
    "$(awk 'FNR == 1 && !/^\/\*/ { print FILENAME }' $all)"
# shellcheck disable=SC2086
fault 'one label, named out' "$(search -E '^ *[a-z_]+:$' $all | grep -vE ':[0-9]+: *(out|default):$')"
# shellcheck disable=SC2086
fault 'banned' "$(search -E '\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|strtok|alloca)\(' $all; search -E '\bsystem\(' $sources)"
# shellcheck disable=SC2086
fault 'finish it, or say why not' "$(search -E '(/\*|//|^ *\*).*\b(FIXME|XXX|TODO)\b' $all)"
# shellcheck disable=SC2086
fault 'asserts stay on' "$(search -w 'NDEBUG' $all Makefile)"

# Nothing of one machine, and no package host, in what is tracked.
tracked=$(git ls-files --cached --others --exclude-standard 2>/dev/null)
if [ -n "$tracked" ]; then
    fault 'a path of this machine' "$(echo "$tracked" | xargs -d '\n' grep -nIsF -e "$PWD/" -e "${HOME:-/nonexistent}/")"
    fault 'a lock file names a download host' \
        "$(echo "$tracked" | grep 'package-lock\.json$' | xargs -r -d '\n' grep -nE '"resolved"' /dev/null | head -n 3)"
fi
exit $bad
