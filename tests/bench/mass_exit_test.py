#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many processes with filters of their own that end at once can wedge a kernel for good: what keeps us from it."""
import os
import resource
import subprocess
import sys
import time
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from cloister_bench import BenchError, system  # noqa: E402

MASS_EXIT = sys.argv.pop(1)


def become_an_orphan():
    """And never get far: with four descriptors no pipe can be made, so that a guard that fails does no harm."""
    parent = os.getpid()
    if os.fork() != 0:
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.001)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))


class MassExit(unittest.TestCase):
    def test_more_than_1000_filters_are_refused_though_init_be_the_parent(self):
        done = subprocess.run([MASS_EXIT, "1001", "own"], preexec_fn=become_an_orphan, capture_output=True, text=True,
                              check=False)
        self.assertIn("bench/mass-exit-vm", done.stderr)

    def test_a_cell_must_be_under_filters_and_under_those_of_the_listener_only(self):
        for cell, listener, shared in ((1, 1, True), (2, 2, True), (0, 0, False), (2, 1, False), (0, 1, False)):
            with mock.patch.object(system, "filters_of", {"cell": cell, "listener": listener}.get):
                if shared:
                    system.require_no_filter_of_its_own("cell", "listener")
                else:
                    self.assertRaises(BenchError, system.require_no_filter_of_its_own, "cell", "listener")


if __name__ == "__main__":
    unittest.main()
