# SPDX-License-Identifier: MIT
"""Did anything get worse? Only what a run says of itself counts as noise: the spread of its rounds."""
from . import say

LEAST_NOISE = 0.02  # of the old median: less than this is never a finding
FEW_ROUNDS = 3


def noise(old, new):
    """Half the spread of the rounds of each, together."""
    return max((old["max"] - old["min"] + new["max"] - new["min"]) / 2, LEAST_NOISE * abs(old["median"]))


def verdict(old, new):
    change = new["median"] - old["median"]
    if abs(change) <= noise(old, new):
        return "same"
    return "better" if (change > 0) == (old["better"] == "more") else "WORSE"


def comparable(row):
    """Absolute times and rates are the machine's as much as ours; memory is not."""
    return row["kind"] == "ratio" or row["unit"] == "KiB"


def compare(old, new):
    """Rows of (title, old median, new median, noise, verdict) for all that is in both."""
    before = {row["key"]: row for row in old["rows"] if comparable(row)}
    return [(row["title"], before[row["key"]]["median"], row["median"], noise(before[row["key"]], row),
             verdict(before[row["key"]], row))
            for row in new["rows"] if comparable(row) and row["key"] in before]


def cautions(old, new):
    if old["machine"] != new["machine"]:
        yield f"measured on different machines: {old['machine']} and {new['machine']}"
    for name, data in (("the old", old), ("the new", new)):
        few = [row["key"] for row in data["rows"] if len(row["rounds"]) < FEW_ROUNDS and comparable(row)]
        if few:
            yield f"{name} run has fewer than {FEW_ROUNDS} rounds of {few[0]} and {len(few) - 1} others: their spread says little"
        if data["busy_before"] > 0.05:
            yield f"{name} run was on a busy machine"
    lost = {row["key"] for row in old["rows"]} - {row["key"] for row in new["rows"]}
    if lost:
        yield f"only in the old run: {', '.join(sorted(lost))}"


def report(old, new):
    """Prints the table; returns how many rows got worse."""
    rows = compare(old, new)
    width = max((len(row[0]) for row in rows), default=0)
    print(f"{'':{width}} {'old':>8} {'new':>8} {'noise':>8}")
    for title, before, after, around, what in rows:
        print(f"{title:{width}} {before:8.4g} {after:8.4g} {around:8.2g}  {what}")
    for caution in cautions(old, new):
        say(f"note: {caution}")
    return sum(row[-1] == "WORSE" for row in rows)
