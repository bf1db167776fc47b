#!/usr/bin/env python3
"""Checks a proof of the ledger (`ledgerctl proof`) with the notary's public key and nothing else:
check_proof.py PROOF.json KEY.pem. Written from docs/protocol.md; needs the openssl program."""
import hashlib, json, subprocess, sys, tempfile

TEXT = lambda value: value.encode()
NUMBER = lambda value: value.to_bytes(8, 'big', signed=True)
UUID = lambda value: bytes.fromhex(value.replace('-', ''))
FIELDS = [  # in the order of their numbers, from 1
    ('account', TEXT), ('asset', TEXT), ('user_id', TEXT), ('direction', TEXT), ('seq', NUMBER),
    ('balance', NUMBER), ('held', NUMBER), ('transaction', UUID), ('created_us', NUMBER), ('type', TEXT),
    ('amount', NUMBER), ('counterparty', TEXT), ('refers', UUID), ('settles', lambda value: bytes([value])),
    ('batch', UUID), ('leg', NUMBER), ('trace_id', UUID), ('app_id', TEXT), ('idempotency_key', TEXT),
    ('fingerprint', UUID), ('metadata', bytes.fromhex), ('floor', NUMBER), ('import', NUMBER),
    ('scheduled', UUID)]

def sha256(*parts):
    return hashlib.sha256(b''.join(parts)).digest()

def content_of(entry):
    if set(entry) - {name for name, _ in FIELDS}:
        raise ValueError('a field that is not known')
    parts = [b'\x02']
    for number, (name, encode) in enumerate(FIELDS, 1):
        if name in entry:
            value = encode(entry[name])
            parts += [bytes([number]), len(value).to_bytes(4, 'big'), value]
    return sha256(*parts)

def leaf_of(proof):
    entry, content = proof['entry'], content_of(proof['entry'])
    if 'seq' not in entry:  # between two system accounts: in no chain
        if 'previous' in proof or 'following' in proof:
            raise ValueError('a chain that is none')
        return sha256(b'\x00T', UUID(entry['transaction']), content)
    head = bytes.fromhex(proof['previous'])
    for following in [content] + [bytes.fromhex(text) for text in proof['following']]:
        head = sha256(b'\x03', head, following)
    account = TEXT(entry['account'])
    seq = entry['seq'] + len(proof['following'])
    return sha256(b'\x00A', len(account).to_bytes(4, 'big'), account, NUMBER(seq), head)

def root_of(leaf, at, leaves, path):  # RFC 9162, 2.1.3.2
    last = leaves - 1
    if not 0 <= at <= last:
        raise ValueError('no such position')
    for other in map(bytes.fromhex, path):
        if last == 0:
            raise ValueError('the path is too long')
        if at % 2 == 1 or at == last:
            leaf = sha256(b'\x01', other, leaf)
            while at % 2 == 0 and at != 0:
                at, last = at // 2, last // 2
        else:
            leaf = sha256(b'\x01', leaf, other)
        at, last = at // 2, last // 2
    if last != 0:
        raise ValueError('the path is too short')
    return leaf

def header_of(point):
    return b''.join([b'\x04', NUMBER(point['number']), bytes.fromhex(point['previous']), bytes.fromhex(point['root']),
                     NUMBER(point['leaves']), NUMBER(point['created_us']), bytes.fromhex(point['key'])])

def is_signed(header, signature, key_file):
    with tempfile.NamedTemporaryFile() as message, tempfile.NamedTemporaryFile() as signed:
        message.write(header), signed.write(signature), message.flush(), signed.flush()
        command = ['openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', key_file, '-rawin', '-in', message.name,
                   '-sigfile', signed.name]
        return subprocess.run(command, capture_output=True).returncode == 0

def check(proof, key_file):
    """None when the proof holds; else what does not."""
    point = proof['checkpoint']
    try:
        root = root_of(leaf_of(proof), proof['position'], point['leaves'], proof['path'])
        header = header_of(point)
        if len(header) != 97:
            return 'a part of the header has another length'
    except (ValueError, OverflowError, AttributeError, TypeError) as error:
        return str(error) or 'it is malformed'
    if root.hex() != point['root']:
        return "the entry is not under the checkpoint's root"
    return None if is_signed(header, bytes.fromhex(point['signature']), key_file) else 'the signature is wrong'

if __name__ == '__main__':
    problem = check(json.load(open(sys.argv[1])), sys.argv[2])
    print(problem or 'the proof holds')
    sys.exit(problem is not None)
