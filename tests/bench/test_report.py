#!/usr/bin/env python3
"""The report's own test: medians, ratios, targets, noise, and a page that is whole and loads nothing."""
import contextlib
import io
import json
import re
import sys
import tempfile
import unittest
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).parent))
import charts
import figures as known
import quiet
import report
import stages
import targets

RUN = """drain events 6000
drain pass 10000
drain events 9000
drain pass 10000
drain events 8000
drain pass 16000
drain tpcb_8 2000
drain tpcb_1 1000
batch size_10 100
batch size_100 200
batch size_1000 300
batch pass 150
accounts uniform 100
accounts hot 80
workers disjoint_1 100
workers disjoint_2 150
workers deadlocks 0
journal rows_0 100
journal rows_1000000 90
""".splitlines()
LOAD = [f"load {who}_{percent}_{quantile} {1000 + 10 * i}" for who in ("ledger", "pass") for percent in known.LOADS
        for i, quantile in enumerate(known.QUANTILES)]
QUIET = ["1 0.001 0.002 1.5"] * 10


def target(figures, label):
    return next(one for one in targets.all_targets(figures) if one.label == label)


class FiguresTest(unittest.TestCase):
    def test_median_is_one_of_the_values(self):
        figures = known.Figures(["a b 3", "a b 1", "a b 2", "a c 1", "a c 2"])
        self.assertEqual(figures.median("a.b"), 2)
        self.assertEqual(figures.median("a.c"), 1)
        self.assertIsNone(figures.median("a.d"))

    def test_ratio_is_the_median_of_the_rounds(self):
        # 0.6, 0.9, 0.5: the ratio of the medians would be 0.8.
        self.assertEqual(known.Figures(RUN).ratio("drain.events", "drain.pass"), 0.6)

    def test_ratio_of_unequal_rounds_is_that_of_the_medians(self):
        figures = known.Figures(["a b 3", "a b 1", "a b 2", "a c 4"])
        self.assertEqual(figures.ratio("a.b", "a.c"), 0.5)

    def test_best_tpcb(self):
        self.assertEqual(known.Figures(RUN).best_tpcb(), 2000)

    def test_every_row_is_held_against_one_of_its_section(self):
        for section in known.SECTIONS:
            for row in section.rows:
                with self.subTest(section=section.scenario, row=row.figure):
                    names = [other.figure for other in section.rows] + [f"pass_{p}_{q}" for p in known.LOADS for q in known.QUANTILES]
                    self.assertTrue(row.reference is None or row.reference in names)


class TargetsTest(unittest.TestCase):
    def test_met_missed_and_by_how_much(self):
        figures = known.Figures(RUN)
        self.assertEqual(targets.verdict(target(figures, "drain to pass-through")), "ok by 0%")
        self.assertEqual(targets.verdict(target(figures, "drain to pgbench TPC-B's best")), "ok by 14%")
        self.assertEqual(targets.verdict(target(figures, "hot account to uniform")), "MISSED by 11%")
        self.assertEqual(targets.verdict(target(figures, "deadlocks")), "ok")
        self.assertFalse(targets.is_met(targets.Target("x", 1.5, "<=", 1.4)))

    def test_what_was_not_measured_is_no_target(self):
        self.assertEqual(targets.measured(known.Figures([])), [])
        self.assertNotIn("soak: backlog at the end", [one.label for one in targets.measured(known.Figures(RUN))])

    def test_a_growing_memory_is_not_flat(self):
        flat = known.Figures([f"soak worker_rss_mib {20 + i % 2}" for i in range(40)])
        grows = known.Figures([f"soak worker_rss_mib {20 + i}" for i in range(40)])
        name = "soak: memory of the worker, last half to first"
        self.assertTrue(targets.is_met(target(flat, name)))
        self.assertFalse(targets.is_met(target(grows, name)))


class NoiseTest(unittest.TestCase):
    def test_quiet(self):
        seen, faults = quiet.judge(QUIET, known.Figures(["drain tpcb_8 100", "drain tpcb_8 110"]))
        self.assertEqual(faults, [])
        self.assertEqual(seen["seconds"], 10)

    def test_steal_foreign_and_spread(self):
        faults = quiet.judge(["1 0.2 0.3 9"] * 5, known.Figures(RUN))[1]
        self.assertEqual(len(faults), 3)
        self.assertIn("20%", faults[0])
        self.assertIn("pass-through went from 10,000 to 16,000", faults[2])

    def test_nobody_watched(self):
        self.assertEqual(len(quiet.judge([], known.Figures([]))[1]), 1)


class Page(HTMLParser):
    VOID = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.counts, self.loads = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes what is not open"


class ReportTest(unittest.TestCase):
    def run_report(self, lines, *options):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "results").write_text("\n".join(lines))
        (folder / "noise").write_text("\n".join(QUIET))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = report.main([str(folder / "results"), str(folder / "noise"), str(folder), "commands=5", *options])
        self.markdown = (folder / "bench.md").read_text()
        return code, out.getvalue(), json.loads((folder / "bench.json").read_text()), (folder / "bench.html").read_text()

    def test_missed_fails_unless_only_reported(self):
        self.assertEqual(self.run_report(RUN)[0], 1)
        self.assertEqual(self.run_report(RUN, "--report-only")[0], 0)
        self.assertEqual(self.run_report(["drain tpcb_8 1"])[0], 0)

    def test_table_and_json_say_the_same(self):
        _, text, data, _ = self.run_report(RUN)
        self.assertRegex(text, r"drain to pass-through +0\.6 +>= 0\.6 +ok by 0%")
        self.assertRegex(text, r"hot account to uniform +0\.8 +>= 0\.9 +MISSED by 11%")
        self.assertEqual(data["figures"]["drain.events"], {"median": 8000, "values": [6000, 9000, 8000]})
        self.assertIn("| hot account to uniform | 0.8 | >= 0.9 | MISSED by 11% |", self.markdown)
        self.assertEqual([one["ok"] for one in data["targets"] if one["label"] == "hot account to uniform"], [False])

    def test_page_is_whole_and_loads_nothing(self):
        html = self.run_report(RUN + LOAD)[3]
        page = Page(html)
        self.assertEqual(page.open, [])
        self.assertEqual(page.loads, [])
        self.assertNotIn("url(", html)
        self.assertNotIn("@import", html)
        self.assertEqual(re.findall(r"https?://(?!www\.w3\.org/2000/svg)", html), [])
        self.assertIn("prefers-color-scheme: dark", html)

    def test_each_plot_is_labelled_and_has_its_table(self):
        html = self.run_report(RUN + LOAD)[3]
        plots = re.findall(r'<div class="plot">(.*?)</div></div>', html, re.S)
        self.assertEqual(len(plots), 4)
        for plot in plots:
            svg = ElementTree.fromstring(re.search(r"<svg.*?</svg>", plot, re.S).group())
            self.assertEqual(svg.get("role"), "img")
            self.assertTrue(all(svg.find(f".//*[@id='{name}']").text for name in svg.get("aria-labelledby").split()))
            self.assertIn("<table>", plot)

    def test_an_empty_run_is_a_page_too(self):
        self.assertEqual(Page(self.run_report([])[3]).open, [])


PERF = """
\tffff1 copy_user
\t55551 memcpy
\t55552 query_send
\t55553 store_save
\t55554 io_commit
\t55555 main

\t55561 consumer_fetch
\t55565 main

\t55571 uuid_v7
\t55565 main

\t55581 attempt
\t55582 seen_lookup
\t55565 main
"""
LOG = """2026 [7] ledger@ledger LOG:  duration: 1.250 ms  execute store_keys: SELECT 1
2026 [8] ledger@ledger LOG:  duration: 2.000 ms  bind outbox_save: UPDATE x SET y = $2
2026 [7] ledger@ledger LOG:  EXECUTE MESSAGE STATISTICS
2026 [7] ledger@ledger DETAIL:  ! system usage stats:
\t!\t0.000900 s user, 0.000100 s system, 0.005000 s elapsed
\t!\t[1.500000 s user, 2.500000 s system total]
2026 [7] ledger@ledger STATEMENT:  SELECT 1
2026 [8] ledger@ledger LOG:  BIND MESSAGE STATISTICS
2026 [8] ledger@ledger DETAIL:  ! system usage stats:
\t!\t0.000040 s user, 0.000000 s system, 0.000041 s elapsed
"""


class StagesTest(unittest.TestCase):
    def test_each_name_is_one_of_the_programs(self):
        source = "".join(path.read_text() for folder in ("base", "ledger", "outbox", "worker")
                         for path in (Path(__file__).parents[2] / folder).glob("*.c"))
        for process, parts in stages.STAGES.items():
            for name in " ".join(stage.names for stage in parts).split():
                self.assertIn(f'"{name}"' if process == "postgres" else f"{name}(", source)

    def test_a_sample_is_the_outermost_stages(self):
        found = stages.shares("worker", stages.sampled(PERF.splitlines()))
        self.assertEqual(found, {"statements": 1, "take": 1, "look_up": 1, "rest": 1})

    def test_an_allocation_is_its_callers(self):
        known = [0x100, 0x200, 0x300], ["main", "store_load", "later"]
        lines = ["allocations=9 bytes=99", "stack 7 /lib/c.so+0x250 /b/worker+0x300 /b/worker+0x110", "stack 2 /b/worker+0x110"]
        self.assertEqual(stages.shares("worker", stages.allocated(lines, "worker", known)), {"load": 7, "rest": 2})
        self.assertEqual(stages.total_of(lines), 9)

    def test_a_statement_is_told_apart_by_its_connection(self):
        found = stages.shares("postgres", stages.executed(LOG.splitlines()))
        self.assertEqual({stage: round(value) for stage, value in found.items()}, {"keys": 1000, "save": 40})

    def test_allocations_stand_beside_the_time(self):
        figures = known.Figures(["stages worker_take 4.5", "stages worker_take_allocations 0.25", "stages worker_decode 2"])
        rows = [next(row for row in known.stage_rows() if row.figure == name) for name in ("worker_take", "worker_decode")]
        self.assertEqual([figures.beside("stages", row) for row in rows], ["0.250", ""])


class ChartsTest(unittest.TestCase):
    def test_scales_hold_their_values(self):
        for is_log in (False, True):
            for values in ([1, 2, 3], [0.004, 250000], [10], [14855, 15002]):
                scale = charts.Scale(values, is_log)
                for value in values:
                    self.assertTrue(charts.TOP - 0.01 <= scale.at(value) <= charts.HEIGHT - charts.BOTTOM + 0.01, (is_log, values))

    def test_a_gap_is_left_out(self):
        svg = charts.plot("n", "t", "d", ["a", "b"], [charts.Series("s", [1, None])], "x", "y")
        self.assertEqual(svg.count("<circle"), 1)


if __name__ == "__main__":
    unittest.main()
