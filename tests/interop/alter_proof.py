#!/usr/bin/env python3
"""Every way to alter one value of a proof, or to leave one out: alter_proof.py PROOF.json KEY.pem LEDGERCTL.
Neither check_proof.py nor `ledgerctl check-proof` may accept one of them."""
import copy, json, subprocess, sys, tempfile
from check_proof import check

def places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield path + (key,)
        yield from places(item, path + (key,))

def altered(value):
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, -value - 1]
    if isinstance(value, str):
        last = '1' if value[-1:] == '0' else '0'
        return [value[:-1] + last, value + '00', value[:-2]] if value else ['0']
    return [value + [value[-1]] if value else ['00' * 32]] if isinstance(value, list) else []

def variants(proof):
    for path in places(proof):
        for choice in altered(at(proof, path)) + [None]:
            other = copy.deepcopy(proof)
            parent = at(other, path[:-1])
            if choice is None:
                del parent[path[-1]]
            else:
                parent[path[-1]] = choice
            yield path, choice, other
    yield ('entry', 'more'), 1, {**proof, 'entry': {**proof['entry'], 'more': 1}}

def at(value, path):
    for key in path:
        value = value[key]
    return value

def refused(proof, key_file, ledgerctl):
    with tempfile.NamedTemporaryFile('w') as file:
        json.dump(proof, file)
        file.flush()
        command = [ledgerctl, 'check-proof', file.name, '--public-key', key_file]
        code = subprocess.run(command, capture_output=True).returncode
    try:
        problem = check(proof, key_file)
    except KeyError:
        problem = 'a part is missing'
    return code == 1 and problem is not None

proof, count = json.load(open(sys.argv[1])), 0
for path, choice, other in variants(proof):
    count += 1
    if not refused(other, *sys.argv[2:4]):
        sys.exit(f'accepted: {path} as {choice!r}')
print(f'{count} alterations are refused')
