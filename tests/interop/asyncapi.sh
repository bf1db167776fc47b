#!/bin/sh
# Checks docs/asyncapi.yaml and docs/protocol.md against each other and the headers. Exit 0: all well.
set -eu
cd "$(dirname "$0")"
if ! [ -d node_modules/@asyncapi/parser ] || ! [ -d node_modules/ajv ]; then npm ci --no-progress >/dev/null; fi
exec node asyncapi.mjs
