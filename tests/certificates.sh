# certificates.sh - for shell tests of TLS: a CA and what it signs, in a folder that servers under another user can read.
#
#   make_certificates FOLDER     into $pki: ca, other (another CA), right, expired, elsewhere, each .pem and .key;
#                                keys belong to whom FOLDER belongs to
# shellcheck shell=bash

make_ca() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/$1.key" -out "$pki/$1.pem" -days 2 \
        -subj "/CN=$1" -addext 'keyUsage=critical,keyCertSign,cRLSign' 2>/dev/null
}
make_certificate() { # NAME NAMES START END
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/$1.key" -out "$pki/$1.csr" -subj "/CN=$1" 2>/dev/null
    : >"$pki/index"
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nnew_certs_dir=%s\nrand_serial=yes\ndefault_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=%s\nbasicConstraints=CA:FALSE\n' \
        "$pki/index" "$pki" "$2" >"$pki/$1.conf"
    openssl ca -batch -notext -config "$pki/$1.conf" -cert "$pki/ca.pem" -keyfile "$pki/ca.key" -in "$pki/$1.csr" -out "$pki/$1.pem" \
        -startdate "$3" -enddate "$4" 2>"$pki/$1.log" || { cat "$pki/$1.log" >&2; return 1; }
}
make_certificates() {
    local group year
    year=$(date +%Y)
    group=$(stat -c %g "$1")
    pki=$(mktemp -d)
    chmod 755 "$pki"
    make_ca ca; make_ca other
    make_certificate right DNS:localhost,IP:127.0.0.1 "$((year - 1))0101000000Z" "$((year + 1))0101000000Z"
    make_certificate expired DNS:localhost,IP:127.0.0.1 "$((year - 2))0101000000Z" "$((year - 1))0101000000Z"
    make_certificate elsewhere DNS:elsewhere.example "$((year - 1))0101000000Z" "$((year + 1))0101000000Z"
    chmod 600 "$pki"/*.key
    [[ $(id -u) != 0 ]] || { chown "root:$group" "$pki"/*.key; chmod 640 "$pki"/*.key; } # ours and the servers'
}

free_ports() { # COUNT: on one line
    /usr/bin/python3 - "$1" <<'PYTHON'
import random, socket, sys
held, wanted = [], int(sys.argv[1])
for port in random.sample(range(31500, 32000), 500): # below those of outgoing connections: they stay free
    one = socket.socket()
    try:
        one.bind(("127.0.0.1", port))
    except OSError:
        continue
    held.append(one)
    if len(held) == wanted:
        break
print(*(one.getsockname()[1] for one in held))
PYTHON
}
