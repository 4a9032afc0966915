# SPDX-License-Identifier: MIT
"""What the figures of a drill mean, and the table of them. Pure."""
import statistics

SUCCESS = 0.999  # of the legitimate clients
FACTOR = 3       # of their p99 beside the attack to that without


def success(figures):
    return figures["served"] / figures["attempts"] if figures["attempts"] else 0.0


def over(rounds, when):
    """All clients of all rounds, and the median of their p99: one round may have been disturbed by something else."""
    p99 = [one[when]["p99"] for one in rounds]
    return {"attempts": sum(one[when]["attempts"] for one in rounds), "served": sum(one[when]["served"] for one in rounds),
            "p99": None if None in p99 else statistics.median(p99)}


def judge(rounds, judge_p99):
    """A short run has too few clients for a p99, which is told and not judged."""
    alone, beside = over(rounds, "alone"), over(rounds, "beside")
    factor = beside["p99"] / alone["p99"] if alone["p99"] and beside["p99"] else None
    weak = next((one["weak"] for one in rounds if one["weak"]), "")
    if success(alone) < SUCCESS:
        word = "not served without attack"
    elif any(one["last_words"] is not None for one in rounds):
        word = "FAIL: the server has ended"
    elif weak:
        word = f"attack too weak ({weak})"
    elif success(beside) < SUCCESS:
        word = "FAIL"
    elif judge_p99 and (factor is None or factor > FACTOR):
        word = "FAIL: p99"
    else:
        word = "pass"
    return {"alone": alone, "beside": beside, "factor": factor, "verdict": word}


def percent(share):
    """Never rounded up: 99.96 % is not 100 %."""
    return f"{int(share * 10000 + 1e-9) / 100:g} %"


def milliseconds(microseconds):
    return "–" if microseconds is None else f"{microseconds / 1000:.2f}"


def achieved(row):
    """In the last round."""
    last = row["rounds"][-1]
    parts = [f"{figures['per_second']:.0f}/s" + (f", {figures['held']} held" if figures["mode"] == "hold" else "")
             for figures in last["attacks"]]
    parts += [f"{number} {name}" for name, number in last["counted"].items()]
    return "; ".join(parts)


def lines(head, rows):
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"


def table(results):
    """Markdown, in columns that can be read as they are."""
    head = ["drill", "server", "served without", "with", "p99 without, ms", "with", "factor", "the attack achieved", "verdict"]
    rows = [[row["drill"], row["server"], percent(success(row["alone"])), percent(success(row["beside"])),
             milliseconds(row["alone"]["p99"]), milliseconds(row["beside"]["p99"]),
             "–" if row["factor"] is None else f"{row['factor']:.1f}", achieved(row),
             row["verdict"]] for row in results]
    drills = {row["drill"]: row for row in results}
    servers = {row["server"]: row for row in results}
    return "\n".join([*lines(head, rows), "", *lines(["drill", "attack", "stated"], [[row["drill"], row["title"], row["stated"]]
                      for row in drills.values()]), "",
                      *lines(["server", "settings"], [[row["server"], row["settings"]] for row in servers.values()])])
