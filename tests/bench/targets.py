"""What the ledger is held to, and how far it is from that."""
from collections import namedtuple

Target = namedtuple("Target", "label value sign bound")
ALLOCATIONS_MAX = 0.1  # a command; what a batch takes, shared among its commands, remains


def all_targets(figures):
    """Each with its value, or None where that was not measured."""
    tpcb, drain = figures.best_tpcb(), figures.median("drain.events")
    half = lambda name: steady(figures.values.get(f"soak.{name}"))
    ratio = figures.ratio
    callers, answered = figures.median("rpc.callers_p99"), figures.median("rpc.callers_replies_p99")
    return [
        Target("drain to pass-through", ratio("drain.events", "drain.pass"), ">=", 0.6),
        Target("drain to pgbench TPC-B's best", drain / tpcb if drain and tpcb else None, ">=", 3.5),
        Target("drain with replies to pass-through", ratio("replies.events_replies", "replies.pass"), ">=", 0.65),
        Target("batches of 1000 to pass-through of singles", ratio("batch.size_1000", "batch.pass"), ">=", 1),
        Target("one RPC caller to echo, p50", ratio("rpc.ledger_p50", "rpc.echo_p50"), "<=", 1.4),
        Target("one RPC caller to echo, p99", ratio("rpc.ledger_p99", "rpc.echo_p99"), "<=", 2),
        Target("64 callers at half of drain with replies, p99 in ms", answered / 1000 if answered else None, "<=", 25),
        Target("64 callers at half of drain, p99 in ms", callers / 1000 if callers else None, "<=", 25),
        Target("hot account to uniform", ratio("accounts.hot", "accounts.uniform"), ">=", 0.9),
        Target("30% repeats to none", ratio("repeats.repeated", "repeats.unique"), ">=", 0.95),
        Target("repeats, with Redis to without", ratio("repeats.repeated", "repeats.repeated_no_redis"), ">=", 1),
        Target("1,000,000 rows of journal to none", ratio("journal.rows_1000000", "journal.rows_0"), ">=", 0.85),
        Target("10,000,000 rows of journal to none", ratio("large.rows_many", "large.rows_0"), ">=", 0.85),
        Target("10,000,000 rows and accounts to none", ratio("large.accounts_many", "large.accounts_few"), ">=", 0.85),
        Target("soak: rate, last half to first", half("applied"), ">=", 0.95),
        Target("soak: memory of the worker, last half to first", half("worker_rss_mib"), "<=", 1.05),
        Target("soak: memory of the relay, last half to first", half("relay_rss_mib"), "<=", 1.05),
        Target("soak: outbox, largest of last half to first", growth(figures.values.get("soak.outbox_mib")), "<=", 1.2),
        Target("soak: backlog at the end", figures.median("soak.backlog"), "<=", 0),
        Target("2 workers to 1, disjoint accounts", ratio("workers.disjoint_2", "workers.disjoint_1"), ">=", 1),
        Target("2 workers to 1, the same accounts", ratio("workers.shared_2", "workers.shared_1"), ">=", 1),
        Target("deadlocks", figures.median("workers.deadlocks"), "<=", 0),
        Target("memory of the worker, peak in MiB", figures.most("memory.worker_mib"), "<=", 48),
        Target("memory of the relay, peak in MiB", figures.most("memory.relay_mib"), "<=", 48),
        Target("allocations a command, worker", figures.median("allocations.worker"), "<=", ALLOCATIONS_MAX),
        Target("allocations a command, relay", figures.median("allocations.relay"), "<=", ALLOCATIONS_MAX),
    ]


def measured(figures):
    return [target for target in all_targets(figures) if target.value is not None]


def is_met(target):
    return target.value >= target.bound if target.sign == ">=" else target.value <= target.bound


def verdict(target):
    """ok or MISSED, with how far: the part of the bound that is missing or left."""
    word = "ok" if is_met(target) else "MISSED"
    if target.bound == 0:
        return word
    return f"{word} by {abs(target.value / target.bound - 1):.0%}"


def steady(values):
    """Mean of the last half to that of the first, the first tenth left out: it warms up."""
    values = (values or [])[len(values or []) // 10:]
    if len(values) < 4:
        return None
    middle = len(values) // 2
    return (sum(values[middle:]) / (len(values) - middle)) / (sum(values[:middle]) / middle)


def growth(values):
    if not values or len(values) < 4:
        return None
    middle = len(values) // 2
    return max(values[middle:]) / max(values[:middle])
