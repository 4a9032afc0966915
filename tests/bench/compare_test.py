#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench/compare as its user runs it: what it calls worse, and with which exit code."""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "bench"))

from cloister_bench import results  # noqa: E402
from cloister_bench.measures import Row, fitting  # noqa: E402

STEADY = [1.90, 1.91, 1.92, 1.93, 1.94]


def ratio(rounds, better="more", goal=0.0):
    row = Row("rate.16", "connections/s", "/s", "cloisterd", "fork", better, goal)
    return results.summary(row, [{"cloisterd": value * 1000, "fork": 1000} for value in rounds])


def value(rounds, unit):
    return results.summary(Row("memory.900", "a connection", unit, "sum", better="less"), [{"sum": one} for one in rounds])


def run(*rows, **more):
    return {"format": results.FORMAT, "machine": {"kernel": "6.1"}, "busy_before": 0.0, "rows": list(rows), **more}


class Compare(unittest.TestCase):
    def compare(self, old, new):
        with tempfile.TemporaryDirectory() as directory:
            files = [Path(directory) / name for name in ("old.json", "new.json")]
            for file, content in zip(files, (old, new)):
                file.write_text(content if isinstance(content, str) else json.dumps(content))
            return subprocess.run([sys.executable, "-B", SOURCE / "bench/compare", *files], capture_output=True,
                                  text=True, check=False)

    def assert_verdict(self, old, new, word, code):
        done = self.compare(run(old), run(new))
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(done.stdout.splitlines()[-1].split()[-1], word, done.stdout)

    def test_a_run_is_no_worse_than_itself(self):
        self.assert_verdict(ratio(STEADY), ratio(STEADY), "same", 0)

    def test_a_ratio_that_fell_by_more_than_its_noise_is_worse(self):
        self.assert_verdict(ratio(STEADY), ratio([one - 0.2 for one in STEADY]), "WORSE", 1)

    def test_a_ratio_that_rose_is_better(self):
        self.assert_verdict(ratio(STEADY), ratio([one + 0.2 for one in STEADY]), "better", 0)

    def test_where_less_is_better_more_is_worse(self):
        self.assert_verdict(ratio(STEADY, "less"), ratio([one + 0.2 for one in STEADY], "less"), "WORSE", 1)
        self.assert_verdict(ratio(STEADY, "less"), ratio([one - 0.2 for one in STEADY], "less"), "better", 0)

    def test_the_spread_of_either_run_excuses_the_same_fall(self):
        wide = [1.52, 1.72, 1.72, 1.72, 1.92]
        self.assert_verdict(ratio(STEADY), ratio(wide), "same", 0)
        self.assert_verdict(ratio([one + 0.2 for one in wide]), ratio([one - 0.2 for one in STEADY]), "same", 0)

    def test_two_percent_is_never_a_finding(self):
        self.assert_verdict(ratio([2.0] * 5), ratio([1.97] * 5), "same", 0)
        self.assert_verdict(ratio([2.0] * 5), ratio([1.95] * 5), "WORSE", 1)

    def test_memory_is_compared_and_microseconds_are_not(self):
        self.assert_verdict(value([100] * 5, "KiB"), value([110] * 5, "KiB"), "WORSE", 1)
        done = self.compare(run(value([100] * 5, "us")), run(value([900] * 5, "us")))
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertNotIn("a connection", done.stdout)

    def test_what_makes_the_answer_doubtful_is_said(self):
        done = self.compare(run(ratio(STEADY[:2])), run(busy_before=0.5, machine={"kernel": "6.12"}))
        for doubt in ("different machines", "fewer than 3 rounds", "busy machine", "only in the old run: rate.16"):
            self.assertIn(doubt, done.stderr)

    def test_a_file_of_something_else_is_refused(self):
        foreign = "not a file that bench/run --json wrote"
        for other, why in (("", "Expecting value"), ("[]", foreign), ('{"results": {}}', foreign)):
            done = self.compare(run(), other)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(f"new.json: {why}", done.stderr)
        self.assertEqual(self.compare(run(), run()).returncode, 0)


class Results(unittest.TestCase):
    def test_a_goal_is_met_on_its_own_side_only(self):
        self.assertTrue(ratio(STEADY, goal=1.9)["met"])
        self.assertFalse(ratio(STEADY, goal=1.95)["met"])
        self.assertTrue(ratio(STEADY, "less", goal=1.95)["met"])
        self.assertFalse(ratio(STEADY, "less", goal=1.9)["met"])

    def test_a_round_in_which_a_peer_failed_is_left_out(self):
        rounds = [{"ours": 2, "theirs": 1}, {"ours": 9}, {"ours": 4, "theirs": 1}]
        row = results.summary(Row("k", "t", "/s", "ours", "theirs"), rounds)
        self.assertEqual(row["rounds"], [2, 4])
        self.assertIsNone(results.summary(Row("k", "t", "/s", "ours", "theirs"), rounds[1:2]))

    def test_where_the_steps_do_not_fit_the_room_takes_their_place(self):
        self.assertEqual(fitting([1000, 10000, 30000], 100000), [1000, 10000, 30000])
        self.assertEqual(fitting([1000, 10000, 30000], 12000), [1000, 10000])
        self.assertEqual(fitting([1000, 10000, 60000], 28432), [1000, 10000, 28400])
        self.assertEqual(fitting([1000, 10000, 30000], 900), [900])
        self.assertEqual(fitting([1000], 50), [])


if __name__ == "__main__":
    unittest.main()
