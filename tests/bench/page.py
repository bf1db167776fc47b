"""The page: every figure, its target, the plots with the figures they show beside them. One file, nothing loaded."""
from html import escape

import charts
import figures as known
import targets

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #57606a; --rule: #d0d7de; --good: #116329; --bad: #a40e26;
  --s0: #0550ae; --s1: #953800; --s2: #116329; --s3: #8250df; --s4: #57606a; --s5: #a40e26; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9da7b3; --rule: #30363d; --good: #56d364; --bad: #ff7b72;
    --s0: #79c0ff; --s1: #ffa657; --s2: #7ee787; --s3: #d2a8ff; --s4: #b1bac4; --s5: #ff7b72; } }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid var(--rule); }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { border-bottom: 1px solid var(--rule); padding: .2rem .8rem .2rem 0; text-align: right; font-weight: normal; }
th:first-child, td:first-child { text-align: left; } thead th { color: var(--soft); }
.ok { color: var(--good); } .missed, .noisy { color: var(--bad); font-weight: bold; }
.plot { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; } .plot > figure { flex: 1 1 30rem; margin: 0; }
.plot > div { overflow-x: auto; }
figcaption { color: var(--soft); } svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 12px; }
svg text.axis { fill: var(--soft); } svg .grid { stroke: var(--rule); } ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0 1.2rem; padding: 0; }
.legend svg { vertical-align: middle; }
""" + "\n".join(f".s{i} {{ stroke: var(--s{i}); fill: var(--s{i}); }}" for i in range(6))


def table(caption, head, rows):
    parts = [f"<table><caption>{escape(caption)}</caption><thead><tr>"]
    parts += [f'<th scope="col">{escape(cell)}</th>' for cell in head]
    parts.append("</tr></thead><tbody>")
    for row in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in row[1:])
        parts.append(f'<tr><th scope="row">{row[0]}</th>{cells}</tr>')
    return "".join(parts + ["</tbody></table>"])


def shown(value, unit=""):
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"
    return f"{text} {unit}".strip() if unit != "/s" else text + "/s"


def plot_section(name, title, text, labels, series, x_title, y_title, is_log=False):
    """A plot, its key, and the same figures as a table."""
    series = [one for one in series if any(value is not None for value in one.values)]
    if not series:
        return ""
    svg = charts.plot(name, title, text, labels, series, x_title, y_title, is_log)
    rows = [[escape(label)] + [shown(one.values[i]) for one in series] for i, label in enumerate(labels)]
    figures_table = table(y_title, [x_title] + [one.name for one in series], rows)
    return (f'<h2 id="{name}-plot">{escape(title)}</h2><div class="plot"><figure>{svg}{charts.legend(series)}'
            f"<figcaption>{escape(text)}</figcaption></figure><div>{figures_table}</div></div>")


def series_of(figures, name, names, scale=lambda value: value):
    values, spans = [], []
    for one in names:
        there = one is not None and one in figures
        values.append(scale(figures.median(one)) if there else None)
        spans.append(tuple(sorted(map(scale, figures.spread(one)))) if there and len(figures.values[one]) > 1 else None)
    return charts.Series(name, values, spans)


def batch_plot(figures):
    sizes = ["1", "10", "100", "1000"]
    names = ["drain.events"] + [f"batch.size_{size}" for size in sizes[1:]]
    return plot_section(
        "batch", "Throughput over batch size",
        "Commands a second of a backlog, by how many are in one message, beside the broker's pass-through of single messages. "
        "Bars: smallest and largest of the rounds.", sizes,
        [series_of(figures, "ledger", names), series_of(figures, "pass-through of single messages", ["batch.pass"] * 4)],
        "commands in a message", "commands a second")


def latency_plot(figures):
    ms = lambda value: max(value, 1) / 1000
    series = []
    for percent in known.LOADS:
        for who, name in (("ledger", "ledger"), ("pass", "pass-through")):
            series.append(series_of(figures, f"{name} at {percent}%", [f"load.{who}_{percent}_{q}" for q in known.QUANTILES], ms))
            series[-1].spans = [None] * len(known.QUANTILES)
    return plot_section(
        "latency", "Latency distribution at several loads",
        "Milliseconds from when a command was due to when its event was there, by quantile, at 25, 50 and 75% of the drain's rate; "
        "the scale is logarithmic. Beside each the broker's pass-through of the same load.",
        known.QUANTILES, series, "quantile", "milliseconds", is_log=True)


def journal_plot(figures):
    labels = ["0", "1,000,000", "10,000,000", "10,000,000 and as many accounts"]
    names = ["journal.rows_0", "journal.rows_1000000", "large.rows_many", "large.accounts_many"]
    empty = ["journal.rows_0", "journal.rows_0", "large.rows_0", "large.accounts_few"]
    measured = [i for i, name in enumerate(names) if name in figures]
    each = lambda value: 1e6 / value
    return plot_section(
        "journal", "Cost over journal size",
        "Microseconds for each command of a backlog, by the rows that were in the journal before, beside an empty ledger in turns.",
        [labels[i] for i in measured],
        [series_of(figures, "with those rows", [names[i] for i in measured], each),
         series_of(figures, "empty, in turns", [empty[i] for i in measured], each)],
        "rows in the journal", "microseconds a command")


def workers_plot(figures):
    return plot_section(
        "workers", "Scaling over workers",
        "Commands a second of a backlog, by the number of workers that share the queues. Single commands: no two workers meet "
        "on an account. Batches of 100: they do.", ["1", "2", "4"],
        [series_of(figures, "single commands", [f"workers.disjoint_{n}" for n in (1, 2, 4)]),
         series_of(figures, "batches of 100 on the same accounts", ["workers.shared_1", "workers.shared_2", None])],
        "workers", "commands a second")


def soak_plots(figures):
    applied = figures.values.get("soak.applied", [])
    labels = [f"{10 * (i + 1)}" for i in range(len(applied))]
    series = lambda name, key: charts.Series(name, figures.values.get(f"soak.{key}", [None] * len(applied)))
    if not applied:
        return ""
    return plot_section(
        "soak-rate", "A long run: rate", "Commands applied a second, in each ten seconds of the run.", labels,
        [series("applied", "applied")], "seconds", "commands a second") + plot_section(
        "soak-memory", "A long run: memory and outbox", "Resident memory of the processes, and the size of the outbox.", labels,
        [series("worker", "worker_rss_mib"), series("relay", "relay_rss_mib"), series("outbox", "outbox_mib")], "seconds", "MiB")


def targets_table(figures):
    rows = []
    for target in targets.measured(figures):
        kind = "ok" if targets.is_met(target) else "missed"
        rows.append([escape(target.label), shown(target.value), f"{escape(target.sign)} {target.bound:g}",
                     f'<span class="{kind}">{targets.verdict(target)}</span>'])
    return table("Each is the median of its rounds' ratios.", ["target", "measured", "wanted", ""], rows)


def section_table(figures, section):
    rows = []
    for row in section.rows:
        name = f"{section.scenario}.{row.figure}"
        if name not in figures:
            continue
        low, high = figures.spread(name)
        rows.append([escape(row.label), shown(figures.median(name), row.unit), f"{shown(low)} to {shown(high)}",
                     str(len(figures.values[name])), figures.beside(section.scenario, row)])
    if not rows:
        return ""
    return f"<h2>{escape(section.title)}</h2>" + table(f"Scenario {section.scenario}", ["", "median", "spread", "rounds", section.beside], rows)


def render(report, figures):
    """The whole document."""
    noise = "".join(f'<p class="noisy">Too noisy to trust: {escape(fault)}.</p>' for fault in report["noise"]["faults"])
    facts = ", ".join(f"{escape(str(key))} {escape(str(value))}" for key, value in {**report["machine"], **report["settings"]}.items())
    body = [f"<h1>Balance ledger: what <code>make bench</code> measured</h1><p>{escape(report['at'])}; {facts}</p>",
            noise or "<p>The machine was quiet.</p>",
            f"<p>Steal {report['noise']['steal']:.1%}, other processes {report['noise']['foreign']:.1%} of the processors, "
            f"load average {report['noise']['load_average']}.</p>",
            "<h2>Targets</h2>", targets_table(figures), batch_plot(figures), latency_plot(figures), journal_plot(figures),
            workers_plot(figures), soak_plots(figures)]
    body += [section_table(figures, section) for section in known.SECTIONS]
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>Balance ledger: bench</title><style>{STYLE}</style></head><body><main>" + "\n".join(body) + "</main></body></html>\n")
