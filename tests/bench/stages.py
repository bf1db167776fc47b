#!/usr/bin/env python3
"""Where the time of a command goes: what was seen of a process, of its heap and of PostgreSQL's statements, by stage.

    stages.py samples PROCESS MICROSECONDS <SCRIPT            SCRIPT: perf script -F ip,sym; MICROSECONDS: its time a command
    stages.py allocations PROCESS BINARY COMMANDS FILE...     of allocations.c: a shorter run, and one of so many commands more
    stages.py statements ALL CONNECTIONS COMMANDS <LOG        LOG: PostgreSQL's, with log_statement_stats; its time a command in
                                                              all, and of the connections that tell

Prints FIGURE VALUE, a line each.
"""
import re
import subprocess
import sys
from bisect import bisect_right
from collections import Counter, namedtuple

# names: functions, or statements of PostgreSQL. A function that ends in a call of another may have left its place on
# the stack to that, so some stages have a helper of theirs as well.
Stage = namedtuple("Stage", "figure label names")

STAGES = {
    "worker": [
        Stage("take", "take from RabbitMQ", "consumer_fetch"),
        Stage("decode", "decode", "request_decode request_decode_legs prepare_message prepare_one"),
        Stage("look_up", "look up in Redis", "seen_lookup"),
        Stage("load", "load accounts and keys", "ledger_collect_targets ledger_collect store_resolve store_look_at_policy store_load"),
        Stage("decide", "decide, with the hash chain", "ledger_apply"),
        Stage("compose", "compose events and replies", "compose_reply compose_rows"),
        Stage("statements", "build and send statements", "store_save outbox_append"),
        Stage("commit", "commit", "store_commit store_commit_read query_done"),
        Stage("acknowledge", "acknowledge", "consumer_ack"),
        Stage("remember", "remember in Redis", "seen_remember attempt"),
        Stage("report", "log and metrics", "report_batch report_oldest cycle_oldest_us log_event log_flush")],
    "relay": [
        Stage("read", "read the outbox", "outbox_read_begin outbox_read"),
        Stage("publish", "publish", "io_publish"),
        Stage("confirms", "confirms", "io_poll"),
        Stage("save", "save the cursor", "outbox_save")],
    "postgres": [
        Stage("lock", "lock and read accounts", "store_lock"),
        Stage("system", "read system accounts", "store_system"),
        Stage("keys", "look keys up", "store_keys"),
        Stage("accounts", "update accounts", "store_update_accounts"),
        Stage("deltas", "insert changes of system accounts", "store_insert_deltas store_insert_delta"),
        Stage("journal", "insert into the journal", "store_insert_journal"),
        Stage("outbox", "insert into the outbox", "outbox_append"),
        Stage("commit", "commit", "store_commit"),
        Stage("read", "the relay's read", "outbox_read_new outbox_read"),
        Stage("save", "the relay's cursor", "outbox_save")],
}


def shares(process, stacks):
    """What of the weights goes to each stage, by the outermost name that is one's; "rest": of none."""
    stage_of = {name: stage.figure for stage in STAGES[process] for name in stage.names.split()}
    found = Counter()
    for weight, names in stacks:
        found[next((stage_of[name] for name in reversed(names) if name in stage_of), "rest")] += weight
    return found


def sampled(lines):
    """A stack for each sample: a line a frame, the innermost first, and an empty one behind the last."""
    stack = []
    for line in [*lines, ""]:
        if line.strip():
            stack.append(line.split()[-1])
        elif stack:
            yield 1, stack
            stack = []


def symbols(binary):
    """Of its functions the addresses, in order, and the names."""
    listed = subprocess.run(["nm", "--defined-only", "-n", binary], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    rows = [(int(address, 16), name) for address, kind, name in rows if kind in "tT"]
    return [address for address, _ in rows], [name for _, name in rows]


def allocated(lines, binary, known):
    """A stack for each place that allocations came from, as often as they did. A frame is where a call comes back to."""
    addresses, names = known
    for line in lines:
        kind, *fields = line.split()
        if kind == "stack":
            frames = [frame.rsplit("+", 1) for frame in fields[1:]]
            own = [int(offset, 16) - 1 for path, offset in frames if path.endswith(binary)]
            yield int(fields[0]), [names[bisect_right(addresses, offset) - 1] for offset in own]


def total_of(lines):
    return int(re.match(r"allocations=(\d+)", lines[0]).group(1))


def allocations(process, binary, commands, *paths):
    known, all_found, totals = symbols(binary), [], []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines = file.readlines()
        totals.append(total_of(lines))
        all_found.append(shares(process, allocated(lines, binary, known)))
    parts = {stage.figure: all_found[1][stage.figure] - all_found[0][stage.figure] for stage in STAGES[process]}
    parts["all"] = totals[1] - totals[0]
    parts["rest"] = 2 * parts["all"] - sum(parts.values())
    return {f"{process}_{part}_allocations": value / int(commands) for part, value in parts.items()}


def executed(lines):
    """Processor time of each message of the protocol, and the statement it was about. The name stands in the line
    before: PostgreSQL tells it with the duration alone."""
    names, title = {}, None
    for line in lines:
        if begin := re.search(r"\[(\d+)\] .*LOG:  duration: .* (?:parse|bind|execute) ([^:]+): ", line):
            names[begin[1]] = begin[2]
        elif begin := re.search(r"\[(\d+)\] .*LOG:  (?:PARSE|BIND|EXECUTE) MESSAGE STATISTICS", line):
            title = begin[1]
        elif title and (used := re.search(r"([\d.]+) s user, ([\d.]+) s system, [\d.]+ s elapsed", line)):
            yield 1e6 * (float(used[1]) + float(used[2])), [names.get(title, "")]
            title = None


def main(what, *arguments):
    if what == "allocations":
        figures = allocations(*arguments)
    elif what == "samples":
        process, microseconds = arguments
        found = shares(process, sampled(sys.stdin))
        figures = {f"{process}_{part}": float(microseconds) * found[part] / found.total()
                   for part in [stage.figure for stage in STAGES[process]] + ["rest"]}
        figures[f"{process}_samples"] = found.total()
    else:
        everything, connections, commands = map(float, arguments)
        found = shares("postgres", executed(sys.stdin))
        figures = {f"postgres_{stage.figure}": found[stage.figure] / commands for stage in STAGES["postgres"]}
        figures["postgres_other"] = found["rest"] / commands
        figures["postgres_messages"] = connections - found.total() / commands
        figures["postgres_rest"] = everything - connections
    for name, value in figures.items():
        print(f"{name} {value:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
