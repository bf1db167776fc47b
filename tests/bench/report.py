#!/usr/bin/env python3
"""From what scripts/bench measured to a table, JSON, a page, and the table of docs/performance.md.

    report.py RESULTS NOISE FOLDER [--report-only] NAME=VALUE...

Writes FOLDER/bench.json, bench.html and bench.md.

Exit 1 when a target is missed (not with --report-only). NAME=VALUE are the run's settings, to be shown.
"""
import datetime
import json
import os
import platform
import sys

import figures as known
import page
import quiet
import targets


def machine():
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), model)
    with open("/proc/meminfo", encoding="ascii") as info:
        kib = int(info.readline().split()[1])
    return {"processors": os.cpu_count(), "model": model, "memory_gib": round(kib / 2 ** 20, 1), "kernel": platform.release()}


def make_report(figures, noise_lines, settings):
    """Everything, as the JSON has it."""
    seen, faults = quiet.judge(noise_lines, figures)
    return {
        "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": settings,
        "noise": {**seen, "faults": faults},
        "targets": [{**target._asdict(), "ok": targets.is_met(target)} for target in targets.measured(figures)],
        "figures": {name: {"median": figures.median(name), "values": values} for name, values in sorted(figures.values.items())},
    }


def short(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def print_table(figures, out):
    for section in known.SECTIONS:
        rows = [row for row in section.rows if f"{section.scenario}.{row.figure}" in figures]
        if not rows:
            continue
        print(f"\n{section.title}", file=out)
        for row in rows:
            name = f"{section.scenario}.{row.figure}"
            low, high = figures.spread(name)
            spread = f"{short(low)} to {short(high)}" if len(figures.values[name]) > 1 else ""
            beside = figures.beside(section.scenario, row)
            beside = beside and f"{beside} {f'of {row.reference}' if row.reference else section.beside}"
            print(f"  {row.label:<44} {short(figures.median(name)):>9} {row.unit:<4} {spread:<22} {beside}".rstrip(), file=out)


def print_targets(report, figures, out):
    print("\nTargets (medians of the rounds' ratios)", file=out)
    for target in targets.measured(figures):
        print(f"  {target.label:<44} {short(target.value):>9}      {target.sign} {target.bound:<5g} {targets.verdict(target)}", file=out)
    for label, name, reference in (("drain", "drain.events", "drain.pass"), ("with replies", "replies.events_replies", "replies.pass")):
        ratio = figures.ratio(name, reference)
        if ratio is not None:
            print(f"  {label}: {ratio / 0.75 - 1:+.0%} to three quarters of the pass-through", file=out)
    noise = report["noise"]
    print(f"\nThe machine: steal {noise['steal']:.1%}, other processes {noise['foreign']:.1%}, load average {noise['load_average']}", file=out)
    for fault in noise["faults"]:
        print(f"  TOO NOISY TO TRUST: {fault}", file=out)


def markdown(report, figures):
    """What docs/performance.md shows of a run, between its two marks."""
    noise = report["noise"]
    settings = ", ".join(f"{key} {value}" for key, value in report["settings"].items() if key != "scenarios")
    faults = "".join(f" **Too noisy to trust:** {fault}." for fault in noise["faults"]) or " The machine was quiet."
    parts = [f"`BENCH='{report['settings'].get('scenarios', '')}' make bench` ({settings}) on {report['machine']['processors']} processors "
             f"({report['machine']['model']}), {report['at'][:10]}: steal {noise['steal']:.1%}, other processes {noise['foreign']:.1%}.{faults}", "",
             "| target | measured | wanted | |", "|---|---|---|---|"]
    for target in targets.measured(figures):
        parts.append(f"| {target.label} | {short(target.value)} | {target.sign} {target.bound:g} | {targets.verdict(target)} |")
    for section in known.SECTIONS:
        rows = [row for row in section.rows if f"{section.scenario}.{row.figure}" in figures]
        if rows:
            parts += ["", f"**{section.title}** (`{section.scenario}`)", "", f"| | median | spread | {section.beside} |", "|---|---|---|---|"]
        for row in rows:
            name = f"{section.scenario}.{row.figure}"
            low, high = figures.spread(name)
            spread = f"{short(low)} to {short(high)}" if low != high else ""
            parts.append(f"| {row.label.strip()} | {short(figures.median(name))} {row.unit} | {spread} | {figures.beside(section.scenario, row)} |")
    return "\n".join(parts) + "\n"


def lines_of(path):
    try:
        with open(path, encoding="utf-8") as file:
            return [line for line in file if line.strip()]
    except FileNotFoundError:
        return []


def main(arguments):
    settings = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    results, noise, folder = [argument for argument in arguments if "=" not in argument and argument != "--report-only"]
    figures = known.Figures(lines_of(results))
    report = make_report(figures, lines_of(noise), settings)
    print_table(figures, sys.stdout)
    print_targets(report, figures, sys.stdout)
    written = {"json": json.dumps(report, indent=1), "html": page.render(report, figures), "md": markdown(report, figures)}
    for kind, text in written.items():
        with open(os.path.join(folder, f"bench.{kind}"), "w", encoding="utf-8") as file:
            file.write(text)
    print(f"\n{folder}/bench.json, bench.html, bench.md")
    missed = [target for target in report["targets"] if not target["ok"]]
    return 1 if missed and "--report-only" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
