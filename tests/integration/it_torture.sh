#!/bin/bash
# The short forms of scripts/torture: a memory alarm, and Redis in trouble at full load.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LEDGER_SERVERS_NAME=torture
HOLD=6 scripts/torture alarm
HOLD=3 LEAST=25 scripts/torture redis # three seconds are too short to hold it to 70 percent; a stall is far below
scripts/servers wipe torture
