"""What scripts/bench measured: reading it, medians, ratios, and what the figures are called."""
import statistics
from collections import defaultdict, namedtuple

import stages

# One line of the table: what it is, where it is, its unit, the figure it is held against, or one that is shown beside it.
Row = namedtuple("Row", "label figure unit reference beside", defaults=(None, None))
Section = namedtuple("Section", "scenario title rows beside", defaults=("to its reference",))

QUANTILES = ["p10", "p20", "p30", "p40", "p50", "p60", "p70", "p80", "p90", "p95", "p98", "p99", "p99.5", "p99.9", "max"]
LOADS = [25, 50, 75]


def load_rows():
    rows = []
    for percent in LOADS:
        rows.append(Row(f"at {percent}% of drain", f"ledger_{percent}_rate", "/s"))
        for quantile in ("p50", "p95", "p99", "max"):
            rows.append(Row(f"  {quantile}", f"ledger_{percent}_{quantile}", "us", f"pass_{percent}_{quantile}"))
    return rows


def callers_rows(load, figure):
    rows = [Row(f"64 callers at {load}, calls", f"{figure}_rate", "/s")]
    rows += [Row(f"  {name}", f"{figure}_{name}", "us") for name in ("p50", "p95", "p99")]
    rows.append(Row("  RabbitMQ alone, calls", f"broker_{figure}_rate", "/s"))
    return rows + [Row(f"  RabbitMQ alone, {name}", f"broker_{figure}_{name}", "us") for name in ("p50", "p99")]


def stage_rows():
    """Of each process all, and what of it is whose."""
    rows = []
    for process, name in (("worker", "worker"), ("relay", "relay"), ("postgres", "PostgreSQL")):
        parts = [(stage.label, stage.figure) for stage in stages.STAGES[process]]
        rows.append(Row(name, f"all_cpu_{process}", "us", beside=f"{process}_all_allocations"))
        rows += [Row(f"  {label}", f"{process}_{part}", "us", beside=f"{process}_{part}_allocations")
                 for label, part in parts + [("other statements", "other"), ("between statements", "messages"), ("the rest", "rest")]]
    return rows + [Row("RabbitMQ", "all_cpu_rabbitmq", "us"), Row("Redis", "all_cpu_redis", "us"),
                   Row("commands a second, while all this was looked at", "rate", "/s")]


SECTIONS = [
    Section("drain", "Backlog of single commands, results as events", [
        Row("drain", "events", "/s", "pass"),
        Row("  broker pass-through of the same", "pass", "/s"),
        Row("  pgbench TPC-B, 1 client", "tpcb_1", "/s"),
        Row("  pgbench TPC-B, 8 clients", "tpcb_8", "/s"),
        Row("  pgbench TPC-B, 32 clients", "tpcb_32", "/s"),
        Row("processor time a command: RabbitMQ", "events_cpu_rabbitmq", "us"),
        Row("  PostgreSQL", "events_cpu_postgres", "us"),
        Row("  worker", "events_cpu_worker", "us"),
        Row("  relay", "events_cpu_relay", "us"),
        Row("log of PostgreSQL a command", "wal_bytes", "B"),
        Row("journal with its indexes, a row", "journal_bytes", "B"),
        Row("outbox, a message", "outbox_bytes", "B")]),
    Section("replies", "The same, with a reply to each as well", [
        Row("drain", "events_replies", "/s", "pass"),
        Row("  broker pass-through of the same", "pass", "/s")]),
    Section("load", "Open load: from when a command was due to its event; beside it the pass-through's", load_rows()),
    Section("rpc", "RPC: one caller, and 64", [
        Row("one caller, p50", "ledger_p50", "us", "echo_p50"),
        Row("  p95", "ledger_p95", "us", "echo_p95"),
        Row("  p99", "ledger_p99", "us", "echo_p99"),
        Row("  echo with one commit, p50", "echo_p50", "us"),
        Row("  echo, p95", "echo_p95", "us"),
        Row("  echo, p99", "echo_p99", "us"),
        Row("one caller, while a queue takes the events, p50", "listened_p50", "us"),
        *callers_rows("a quarter of drain", "callers_quarter"),
        *callers_rows("half of drain with replies", "callers_replies"),
        *callers_rows("half of drain", "callers")]),
    Section("batch", "Many commands in a message: one reply, their events in one message or a few", [
        Row("10 in a message", "size_10", "/s", "pass"),
        Row("100 in a message", "size_100", "/s", "pass"),
        Row("1000 in a message", "size_1000", "/s", "pass"),
        Row("  broker pass-through of single messages", "pass", "/s")]),
    Section("accounts", "Which accounts", [
        Row("uniform", "uniform", "/s"),
        Row("nine in ten on one", "hot", "/s", "uniform"),
        Row("Zipf", "zipf", "/s", "uniform")]),
    Section("transfers", "Transfers: two accounts, two events", [
        Row("drain", "transfers", "/s", "pass"),
        Row("  broker pass-through of the same", "pass", "/s")]),
    Section("repeats", "Three in ten messages are repeats; events and replies", [
        Row("none repeated, with Redis", "unique", "/s"),
        Row("repeated, with Redis", "repeated", "/s", "unique"),
        Row("none repeated, without Redis", "unique_no_redis", "/s"),
        Row("repeated, without Redis", "repeated_no_redis", "/s", "unique_no_redis")]),
    Section("workers", "Workers", [
        Row("1, single commands", "disjoint_1", "/s"),
        Row("2", "disjoint_2", "/s", "disjoint_1"),
        Row("4", "disjoint_4", "/s", "disjoint_1"),
        Row("1, batches of 100 on the same accounts", "shared_1", "/s"),
        Row("2", "shared_2", "/s", "shared_1"),
        Row("deadlocks", "deadlocks", "")]),
    Section("relay", "Worker alone, relay alone", [
        Row("worker, nobody publishes", "worker", "/s"),
        Row("relay, all of it is there", "relay", "/s", "publish"),
        Row("  confirmed publishes of the same", "publish", "/s")]),
    Section("journal", "Rows in the journal", [
        Row("none", "rows_0", "/s"),
        Row("1,000,000", "rows_1000000", "/s", "rows_0")]),
    Section("large", "A large ledger beside an empty one", [
        Row("10,000,000 rows of journal", "rows_many", "/s", "rows_0"),
        Row("  empty, in turns", "rows_0", "/s"),
        Row("and 10,000,000 accounts", "accounts_many", "/s", "accounts_few"),
        Row("  empty, in turns", "accounts_few", "/s")]),
    Section("memory", "Memory under a backlog of 1,000,000", [
        Row("worker, after a second", "worker_begin_mib", "MiB"),
        Row("worker, at the end", "worker_end_mib", "MiB"),
        Row("worker, peak", "worker_mib", "MiB"),
        Row("relay, after a second", "relay_begin_mib", "MiB"),
        Row("relay, at the end", "relay_end_mib", "MiB"),
        Row("relay, peak", "relay_mib", "MiB")]),
    Section("allocations", "Heap allocations a command", [
        Row("worker", "worker", ""),
        Row("relay", "relay", "")]),
    Section("stages", "Where the processor time of a command goes, and its heap allocations", stage_rows(), "heap allocations"),
    Section("soak", "Half of drain for long", [
        Row("rate", "rate", "/s"),
        Row("latency p50", "latency_p50", "us"),
        Row("latency p99", "latency_p99", "us"),
        Row("latency max", "latency_max", "us"),
        Row("applied, in each ten seconds", "applied", "/s"),
        Row("memory of the worker", "worker_rss_mib", "MiB"),
        Row("memory of the relay", "relay_rss_mib", "MiB"),
        Row("outbox", "outbox_mib", "MiB"),
        Row("backlog at the end", "backlog", "")]),
    Section("import", "ledgerctl import", [
        Row("lines", "lines", "/s"),
        Row("memory, peak", "import_mib", "MiB")]),
]


class Figures:
    """All values of each figure, in the order of the rounds; named SCENARIO.FIGURE."""

    def __init__(self, lines):
        self.values = defaultdict(list)
        for line in lines:
            scenario, figure, value = line.split()
            self.values[f"{scenario}.{figure}"].append(float(value))

    def __contains__(self, name):
        return name in self.values

    def median(self, name):
        return statistics.median_low(self.values[name]) if name in self.values else None

    def most(self, name):
        return max(self.values[name]) if name in self.values else None

    def spread(self, name):
        """Smallest and largest."""
        return min(self.values[name]), max(self.values[name])

    def ratio(self, name, reference):
        """Median of the rounds' ratios: what the machine did in a round, it did to both. None: not measured."""
        ratios = self.ratios(name, reference)
        return statistics.median(ratios) if ratios else None

    def ratios(self, name, reference):
        above, below = self.values.get(name), self.values.get(reference)
        if not above or not below:
            return []
        if len(above) != len(below):
            return [self.median(name) / self.median(reference)]
        return [a / b for a, b in zip(above, below)]

    def beside(self, scenario, row):
        """What the table shows beside a row's median: its ratio to its reference, or the figure that belongs there."""
        if row.beside:
            return f"{self.median(f'{scenario}.{row.beside}'):.3f}" if f"{scenario}.{row.beside}" in self else ""
        ratio = self.ratio(f"{scenario}.{row.figure}", f"{scenario}.{row.reference}") if row.reference else None
        return f"{ratio:.2f}" if ratio else ""

    def best_tpcb(self):
        """The best client count's median."""
        known = [self.median(f"drain.tpcb_{clients}") for clients in (1, 8, 32)]
        return max((value for value in known if value is not None), default=None)
