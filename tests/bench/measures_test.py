#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How rates are measured, with a load generator that makes no load."""
import contextlib
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from cloister_bench.measures import PIECE, Idle, in_pieces  # noqa: E402


class Load:
    """Writes down what it is asked for; answers with the rates given, else always the same."""

    def __init__(self, rates=()):
        self.rates, self.calls = iter(rates), []

    def rate(self, address, concurrent, total):
        self.calls.append((address, concurrent, total))
        return {"per_second": next(self.rates, 1), "latency_us": {"p50": 1, "p99": 1}, "client_cpu_us": 1}

    @contextlib.contextmanager
    def idle(self, _address, connections):
        self.calls.append(("up", connections))
        yield
        self.calls.append(("down", connections))


@contextlib.contextmanager
def start(_name, connections):
    yield SimpleNamespace(address=f"for {connections}")


class Pieces(unittest.TestCase):
    def test_servers_take_turns_in_an_order_that_turns_around(self):
        load = Load()
        in_pieces(load, {"a": "A", "b": "B"}, 16, 3)
        self.assertEqual("".join(address for address, *_ in load.calls), "ABBAAB")

    def test_a_piece_that_was_disturbed_is_not_in_the_figure(self):
        figures = in_pieces(Load([100, 3, 101, 99, 102]), {"a": "A"}, 16, 5)
        self.assertEqual(figures["a 16"], 100)


class BesideIdleCells(unittest.TestCase):
    def test_nothing_is_counted_before_the_kernel_has_settled(self):
        for turn in (0, 1):
            load = Load()
            idle = Idle(SimpleNamespace(load=load, quick=True, servers=SimpleNamespace(start=start), room=lambda steps: steps))
            figures = idle.sample(turn)
            settled = False
            for call in load.calls:
                if call[0] in ("up", "down"):
                    settled = False
                elif call[2] >= Idle.settling:
                    settled = True
                elif call[2] in PIECE.values():
                    self.assertTrue(settled, load.calls)
            self.assertEqual({f"{step} {concurrent} p99" for step in (0, 1000) for concurrent in (1, 16, 128)},
                             {key for key in figures if key.endswith("p99")})


if __name__ == "__main__":
    unittest.main()
