# SPDX-License-Identifier: MIT
"""From the figures of the rounds to rows with medians and spread."""
import json
import statistics
from pathlib import Path

from . import BenchError

FORMAT = 2  # of the file: what its figures are called, and how they are measured


def summary(row, rounds):
    """What the table and the file say of a row; None where no round has its figures."""
    pairs = [(figures[row.ours], figures[row.theirs] if row.theirs else 1) for figures in rounds
             if row.ours in figures and (not row.theirs or row.theirs in figures)]
    if not pairs:
        return None
    ours, theirs = zip(*pairs)
    values = [a / b if b else float("nan") for a, b in zip(ours, theirs)]
    result = {"key": row.key, "title": row.title, "unit": row.unit, "better": row.better,
              "kind": "ratio" if row.theirs else "value", "ours": statistics.median(ours), "rounds": values,
              "median": statistics.median(values), "min": min(values), "max": max(values)}
    if row.theirs:
        result["theirs"] = statistics.median(theirs)
    if row.goal:
        result["goal"] = row.goal
        result["met"] = result["median"] >= row.goal if row.better == "more" else result["median"] <= row.goal
    return result


def medians(rounds):
    keys = dict.fromkeys(key for figures in rounds for key in figures)
    return {key: statistics.median(figures[key] for figures in rounds if key in figures) for key in keys}


def table(rows):
    width = max((len(row["title"]) for row in rows), default=0)
    lines = [f"{'':{width}} {'median':>8} {'(min - max)':>17}  goal"]
    for row in rows:
        sign = ">=" if row["better"] == "more" else "<="
        goal = f"{sign} {row['goal']:g} {'met' if row['met'] else 'MISSED'}" if "goal" in row else ""
        spread = f"({row['min']:.4g} - {row['max']:.4g})"
        figures = (f"{row['ours']:.4g} / {row['theirs']:.4g} {row['unit']}" if row["kind"] == "ratio" else row["unit"])
        lines.append(f"{row['title']:{width}} {row['median']:8.4g} {spread:>17}  {goal:14} {figures}")
    return "\n".join(line.rstrip() for line in lines)


def read(path):
    try:
        data = json.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BenchError(f"{path}: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BenchError(f"{path}: not a file that bench/run --json wrote, or one of another version")
    return data
