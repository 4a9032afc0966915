# SPDX-License-Identifier: MIT
"""A page of plots from the figures of a run. What was not measured has no plot."""
import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

OURS, FORK, EPOLL, OTHER = "#0b6e6e", "#b0b7bf", "#d9a441", "#8d99a6"
COLOURS = {"cloisterd": OURS, "reference-fork": FORK, "reference-epoll": EPOLL}
NAMES = {"cloisterd": "cloister", "reference-fork": "plain fork", "reference-epoll": "epoll, no isolation",
         "inetd": "openbsd-inetd", "systemd": "systemd-socket-\nactivate cat", "tcpserver": "tcpserver cat", "socat": "socat fork"}
SERVERS = ("cloisterd", "reference-fork", "reference-epoll")
CONCURRENT = {1: "#7f6aa8", 16: OURS, 128: EPOLL}
PARTS = {"pages": ("own pages", OURS), "page_tables": ("page tables", "#4aa3a3"), "kernel_stacks": ("kernel stacks", "#d9a441"),
         "other_slab": ("other kernel objects", "#b0b7bf"), "sockets": ("sockets, both ends", "#7f6aa8"),
         "vmalloc": ("filters (vmalloc)", "#c4594b"), "per_cpu": ("per CPU", "#5b6570")}


def name_of(server):
    return NAMES.get(server, server)


def spread_of(measure, key):
    """Distances from the median to the smallest and the largest of the rounds."""
    values = [figures[key] for figures in measure["rounds"] if key in figures]
    median = measure["median"][key]
    return [[median - min(values)], [max(values) - median]]


def grouped_bars(axes, measure, groups, series, key, label):
    """One group for each of `groups`, one bar in it for each of `series`; the spread on top."""
    width = 0.8 / len(series)
    for i, one in enumerate(series):
        for x, group in enumerate(groups):
            name = key(one, group)
            if name in measure["median"]:
                axes.bar(x + (i - (len(series) - 1) / 2) * width, measure["median"][name], width * 0.92,
                         color=COLOURS.get(one, OTHER), label=name_of(one) if x == 0 else None,
                         yerr=spread_of(measure, name), ecolor="#444", error_kw={"linewidth": 0.8})
    axes.set_xticks(range(len(groups)), [label(group) for group in groups])
    leave_room_for(axes, axes.legend(frameon=False, fontsize=7, loc="upper left"))


def leave_room_for(axes, legend, columns=1):
    """Above all bars: legends are read, too."""
    lines = -(-len(legend.get_texts()) // columns)
    axes.set_ylim(top=axes.get_ylim()[1] * (1 + 0.09 * lines))


def rate(axes, measure):
    axes.set_title("Connections per second")
    grouped_bars(axes, measure, tuple(CONCURRENT), SERVERS, lambda s, n: f"{s} {n}", lambda n: f"{n} at a time")


def latency(axes, measure):
    axes.set_title("Latency of a connection: p50 and p99 (µs)")
    for i, server in enumerate(SERVERS):
        for x, concurrent in enumerate(CONCURRENT):
            p50, p99 = (measure["median"][f"{server} {concurrent} {share}"] for share in ("p50", "p99"))
            at = x + (i - 1) * 0.22
            axes.plot([at, at], [p50, p99], color=COLOURS[server], linewidth=2)
            axes.plot(at, p50, "o", color=COLOURS[server], label=name_of(server) if x == 0 else None)
            axes.plot(at, p99, "_", color=COLOURS[server], markersize=10, markeredgewidth=2)
            for value, below in ((p50, True), (p99, False)):
                axes.annotate(f"{value:,.0f}", (at, value), (0, -6 if below else 4), textcoords="offset points",
                              ha="center", va="top" if below else "bottom", fontsize=5.5, color="#444")
    axes.set_yscale("log")
    axes.margins(y=0.16)
    axes.set_xticks(range(len(CONCURRENT)), [f"{n} at a time" for n in CONCURRENT])
    axes.legend(frameon=False, fontsize=7, loc="upper left")


def peers(axes, measure):
    axes.set_title("Other servers, connections per second")
    axes.set_xlabel("16 at a time")
    ranked = sorted(measure["median"], key=measure["median"].get)
    axes.barh([name_of(s) for s in ranked], [measure["median"][s] for s in ranked],
              color=[COLOURS.get(s, OTHER) for s in ranked])


def idle_steps(axes, measure):
    steps = sorted({int(key.split()[0]) for key in measure["median"]})
    axes.set_xticks(range(len(steps)), [f"{n:,}" for n in steps])
    axes.set_xlabel("idle cells")
    return steps


def idle_rate(axes, measure):
    axes.set_title("Connections per second beside idle cells, to none")
    steps = idle_steps(axes, measure)
    for concurrent, colour in CONCURRENT.items():
        base = measure["median"][f"0 {concurrent}"]
        axes.plot(range(len(steps)), [measure["median"][f"{n} {concurrent}"] / base for n in steps], "o-", color=colour,
                  label=f"{concurrent} at a time")
    axes.axhline(0.9, color="#888", linewidth=0.6, linestyle=":")
    axes.text(0, 0.88, "goal, at 16", fontsize=6.5, color="#888", va="top")
    axes.set_ylim(0, max(axes.get_ylim()[1] * 1.05, 1.1))
    axes.legend(frameon=False, fontsize=7, loc="lower right")


def idle_latency(axes, measure):
    axes.set_title("Latency beside idle cells: p50 —, p99 - - (µs)")
    steps = idle_steps(axes, measure)
    for concurrent, colour in CONCURRENT.items():
        for share, line in (("p50", "o-"), ("p99", "s--")):
            values = [measure["median"][f"{n} {concurrent} {share}"] for n in steps]
            axes.plot(range(len(steps)), values, line, color=colour, markersize=4,
                      label=f"{concurrent} at a time" if share == "p50" else None)
            below = share == "p50" or concurrent == 1  # where there usually is room
            for x, value in enumerate(values):
                axes.annotate(f"{value:,.0f}", (x, value), (0, -5 if below else 4), textcoords="offset points",
                              ha="center", va="top" if below else "bottom", fontsize=5.5, color="#444")
    axes.set_yscale("log")
    axes.margins(x=0.1, y=0.3)
    axes.legend(frameon=False, fontsize=7, ncols=3, loc="upper center")


def pingpong(axes, measure):
    axes.set_title("Round trip of 64 bytes (µs)")
    grouped_bars(axes, measure, ("p50", "p99"), SERVERS, lambda s, p: f"{s} {p}", str)


def throughput(axes, measure):
    axes.set_title("Throughput (MiB/s)")
    grouped_bars(axes, measure, (1, 8), ("cloisterd", "reference-epoll", "socat"), lambda s, n: f"{s} {n}",
                 lambda n: "one connection" if n == 1 else f"{n} connections")


def memory(axes, measure):
    axes.set_title("Memory of an idle connection (KiB)")
    columns = sorted({tuple(key.split()[:2]) for key in measure["median"] if key.endswith(" sum")}, key=lambda c: (c[0], int(c[1])))
    if not columns:
        axes.text(0.5, 0.5, "disturbed by other programs", ha="center")
        return
    bottoms = [0.0] * len(columns)
    for part, (label, colour) in PARTS.items():
        heights = [max(measure["median"].get(f"{server} {step} {part}", 0), 0) for server, step in columns]
        axes.bar(range(len(columns)), heights, 0.7, bottom=bottoms, color=colour, label=label)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights)]
    axes.set_xticks(range(len(columns)), [f"{name_of(server)}\n{int(step):,}" for server, step in columns])
    leave_room_for(axes, axes.legend(frameon=False, fontsize=6.5, ncols=2, loc="upper left"), 2)


def cpu(axes, measure):
    axes.set_title("Processor seconds of 10 000 connections")
    names = [name_of(server) for server in SERVERS]
    parent = [measure["median"][f"{server} parent"] for server in SERVERS]
    cells = [measure["median"][f"{server} cells"] for server in SERVERS]
    axes.bar(names, parent, 0.6, color="#5b6570", label="the process that accepts")
    axes.bar(names, cells, 0.6, bottom=parent, color=OURS, label="one process per connection")
    leave_room_for(axes, axes.legend(frameon=False, fontsize=7, loc="upper right"))


def vanish(axes, measure):
    axes.set_title("All clients vanish at once (seconds)")
    steps = sorted({int(key.split()[0]) for key in measure["median"]})
    for what, label, mark, colour in (("gone", "until the last cell is gone", "o-", OURS),
                                      ("load", "slowest load of a filter by another program", "s--", EPOLL)):
        there = [(x, measure["median"][f"{n} {what}"]) for x, n in enumerate(steps) if f"{n} {what}" in measure["median"]]
        axes.plot(*zip(*there), mark, color=colour, label=label)
        for x, value in there:
            axes.annotate(f"{value:.2g}", (x, value), (0, 5), textcoords="offset points", ha="center", fontsize=6.5)
    axes.set_yscale("log")
    axes.axhline(1, color="#888", linewidth=0.6, linestyle=":")
    axes.margins(x=0.15, y=0.4)
    axes.annotate("limit of a load", (0.01, 1), (0, -2), axes.get_yaxis_transform(), "offset points", va="top", fontsize=6.5,
                  color="#888")
    axes.set_xticks(range(len(steps)), [f"{n:,} cells" for n in steps])
    axes.legend(frameon=False, fontsize=7, loc="upper left")


def setup(axes, measure):
    axes.set_title("Steps of a setup (µs)")
    figures = measure["median"]
    steps = {key.split()[1]: (value, OURS) for key, value in figures.items()
             if key.startswith("setup ") and key not in ("setup fork_and_reap", "setup nothing")}
    steps["a filter of its own\n(not needed)"] = (figures["spared seccomp"], FORK)
    values, colours = zip(*steps.values())
    axes.bar_label(axes.barh(list(steps), values, color=colours), fmt="%.1f", padding=2, fontsize=6.5)
    axes.invert_yaxis()
    axes.margins(x=0.12)


def calls(axes, measure):
    axes.set_title("A call without the filter, and with it (ns)")
    free = {key.split()[1]: value for key, value in measure["median"].items() if key.endswith(" free")}
    names = [name.replace("listener_call_", "at the listener call site: ") for name in free]
    with_filter = [measure["median"][f"call {name} filtered"] for name in free]
    axes.barh(names, with_filter, color=EPOLL, label="the filter")
    axes.barh(names, free.values(), color=OURS, label="the call")
    for y, (filtered, unfiltered) in enumerate(zip(with_filter, free.values())):
        axes.text(max(filtered, unfiltered), y, f" {unfiltered:.0f} → {filtered:.0f}", va="center", fontsize=6.5)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.4, -0.2))


PLOTS = (("rate", rate), ("rate", latency), ("peers", peers), ("idle", idle_rate), ("idle", idle_latency), ("vanish", vanish),
         ("memory", memory), ("cpu", cpu), ("pingpong", pingpong), ("throughput", throughput), ("setup", setup), ("setup", calls))


def headline(data):
    machine = data["machine"]
    goals = [row for row in data["rows"] if "goal" in row]
    met = f"{sum(row['met'] for row in goals)} of {len(goals)} goals met" if goals else ""
    quick = "a quick look, not a measurement" if data["quick"] else ""
    return " · ".join(part for part in (
        f"{machine['processors']} × {machine['processor']}", f"Linux {machine['kernel']}", data["when"][:10],
        data["commit"], met, quick) if part)


def draw(data, page):
    plots = [(data["measures"][name], plot) for name, plot in PLOTS
             if name in data["measures"] and data["measures"][name]["median"]]
    if not plots:
        raise ValueError("the results have nothing to draw")
    columns = min(len(plots), 3)
    lines = (len(plots) + columns - 1) // columns
    plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9.5,
                         "axes.titlelocation": "left", "axes.titleweight": "bold", "svg.hashsalt": "cloister"})
    figure, grid = plt.subplots(lines, columns, figsize=(4.4 * columns, 3.1 * lines + 0.7), squeeze=False)
    for axes, (measure, plot) in zip(grid.flat, plots):
        plot(axes, measure)
    for axes in grid.flat[len(plots):]:
        axes.axis("off")
    figure.suptitle("cloister: every connection in its own cell", x=0.012, y=0.995, ha="left", fontsize=13, weight="bold")
    figure.text(0.012, 1 - 0.42 / figure.get_figheight(), headline(data), fontsize=8, va="top", color="#555")
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / figure.get_figheight()))
    figure.savefig(page, dpi=130)
