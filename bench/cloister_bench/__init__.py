# SPDX-License-Identifier: MIT
"""What bench/run, bench/page and bench/compare are made of."""
import sys


class BenchError(Exception):
    """Ends the run; its text is for the user."""


def say(text):
    print(text, file=sys.stderr, flush=True)
