#!/bin/bash
# The short forms of scripts/torture: a memory alarm, and Redis in trouble at full load.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LEDGER_SERVERS_NAME=torture
HOLD=6 scripts/torture alarm
HOLD=3 scripts/torture redis
scripts/servers wipe torture
