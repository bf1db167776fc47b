"""Whether the machine was quiet enough for its figures to be believed; from the lines of noise.py."""

STEAL_MAX = 0.05    # of all processors, over the run
FOREIGN_MAX = 0.05
SPREAD_MAX = 1.35   # largest to smallest of a reference
REFERENCES = {
    "drain.pass": "pass-through",
    "replies.pass": "pass-through with replies",
    "batch.pass": "pass-through beside batches",
    "drain.tpcb_8": "TPC-B with 8 clients",
    "rpc.echo_p50": "echo p50",
    "relay.publish": "confirmed publishes",
}


def mean(values):
    return sum(values) / len(values) if values else 0.0


def judge(lines, figures):
    """(what was seen, what speaks against the run)."""
    samples = [[float(field) for field in line.split()] for line in lines if len(line.split()) == 4]
    seen = {
        "steal": round(mean([sample[1] for sample in samples]), 4),
        "foreign": round(mean([sample[2] for sample in samples]), 4),
        "foreign_busiest_second": max((sample[2] for sample in samples), default=0.0),
        "load_average": round(mean([sample[3] for sample in samples]), 2),
        "seconds": len(samples),
    }
    faults = []
    if not samples:
        faults.append("nobody watched the machine")
    if seen["steal"] > STEAL_MAX:
        faults.append(f"the hypervisor took {seen['steal']:.0%} of the processors away")
    if seen["foreign"] > FOREIGN_MAX:
        faults.append(f"other processes used {seen['foreign']:.0%} of the processors")
    for name, label in REFERENCES.items():
        if name in figures and len(figures.values[name]) > 1:
            low, high = figures.spread(name)
            if high > SPREAD_MAX * low:
                faults.append(f"the reference {label} went from {low:,.0f} to {high:,.0f}")
    return seen, faults
