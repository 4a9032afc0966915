# SPDX-License-Identifier: MIT
"""The drills as a picture: how many clients each server served beside each attack, and how much later."""
import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

from .verdict import FACTOR, success  # noqa: E402

COLOURS = ("#0b6e6e", "#d9a441", "#7f6aa8", "#c4594b", "#5b6570", "#4aa3a3", "#b0b7bf")


def draw(results, page):
    drills = list(dict.fromkeys(row["drill"] for row in results))
    servers = list(dict.fromkeys(row["server"] for row in results))
    figure, (served, later) = plt.subplots(1, 2, figsize=(11, 1.5 + 0.1 * len(drills) * (len(servers) + 1)), sharey=True,
                                           layout="constrained")
    height = 0.84 / len(servers)
    for number, server in enumerate(servers):
        rows = {row["drill"]: row for row in results if row["server"] == server}
        at = [drills.index(name) + (number - (len(servers) - 1) / 2) * height for name in rows]
        colour = COLOURS[number % len(COLOURS)]
        served.barh(at, [100 * success(row["beside"]) for row in rows.values()], height * 0.9, color=colour, label=server)
        served.plot([0] * len(at), at, ".", markersize=3, color=colour)  # also where nobody was served
        factors = [(row["factor"], y) for row, y in zip(rows.values(), at) if row["factor"]]
        later.plot([factor for factor, _ in factors], [y for _, y in factors], "o", markersize=5, color=colour)
        nobody = [y for row, y in zip(rows.values(), at) if not row["factor"]]
        later.plot([0.97] * len(nobody), nobody, "x", markersize=5, color=colour, transform=later.get_yaxis_transform())
    served.set(title="clients served beside the attack, %", xlim=(0, 101), yticks=range(len(drills)),
               yticklabels=drills)
    later.set(title="their p99 to that without attack (×: none served)", xscale="log",
              ylim=(-0.6, len(drills) - 0.4), xlim=(0.1, 10000))
    later.axvline(FACTOR, color="#444", linewidth=0.8, linestyle="--")
    served.invert_yaxis()
    figure.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))
    for axes in (served, later):
        axes.grid(axis="x", alpha=0.3)
    figure.legend(*served.get_legend_handles_labels(), loc="lower center", ncols=len(servers), frameon=False, fontsize=8)
    figure.savefig(page, dpi=110)
