# SPDX-License-Identifier: MIT
"""What is measured. A measure gives, for one round, a dictionary of named figures; its rows say which of them, or
which two of them as a ratio, belong into the table, and what the goal is."""
import contextlib
import json
import re
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import BenchError, say
from .load import Load
from .servers import PEERS, Servers, most_connections
from .system import (Group, children_of, cpu_of, on_one_processor, processes_to_have, require_no_filter_of_its_own,
                     settled_memory)

SPARE = 100  # connections that come and go beside the idle ones


@dataclass
class Row:
    key: str
    title: str
    unit: str
    ours: str
    theirs: str = ""  # nothing: the figure itself counts, not a ratio
    better: str = "more"
    goal: float = 0


def in_turn(names, turn):
    return list(names) if turn % 2 == 0 else list(reversed(names))


# Connections of one piece of a measurement, by how many there are at a time: about 100 ms.
PIECE = {1: 250, 16: 1000, 128: 1000}


def taking_turns(addresses, pieces, turn, measure):
    """The results of each server. All are up, and take turns in short pieces: what else the machine does meanwhile
    meets all of them alike."""
    results = {name: [] for name in addresses}
    for piece in range(pieces):
        for name in in_turn(addresses, turn + piece):
            results[name].append(measure(addresses[name]))
    return results


def in_pieces(load, addresses, concurrent, pieces, turn=0):
    """Connections per second and their latency. The figures of a server are the medians of its pieces."""
    results = taking_turns(addresses, pieces, turn, lambda address: load.rate(address, concurrent, PIECE[concurrent]))

    def median(name, pick):
        return statistics.median(pick(result) for result in results[name])
    out = {}
    for name in addresses:
        out[f"{name} {concurrent}"] = median(name, lambda result: result["per_second"])
        for share in ("p50", "p99"):
            out[f"{name} {concurrent} {share}"] = median(name, lambda result, of=share: result["latency_us"][of])
        out[f"{name} {concurrent} client cpu"] = median(name, lambda result: result["client_cpu_us"])
    return out


def fitting(steps, room):
    """Those of the steps that there is room for; where one does not fit, the room itself takes its place."""
    kept = [step for step in steps if step <= room]
    if len(kept) < len(steps) and room >= 100 and (not kept or room >= 1.5 * kept[-1]):
        kept.append(room // 100 * 100)
    return kept


def attempts(sample, name):
    """Of another's server: that it failed is no reason to end the run. (socat's PIPE can wait for itself for ever.)"""
    for _ in range(3):
        try:
            return sample()
        except BenchError as error:
            say(f"{name} failed, again: {error}")
    return {}


class Context:
    """What all measures share."""

    def __init__(self, source, binaries, quick):
        self.source = source
        self.binaries = binaries
        self.quick = quick
        self.servers = Servers(binaries)
        self.load = Load(binaries)
        self.skipped = []
        self.connections = most_connections(binaries)
        self.processes = processes_to_have()

    def skip(self, what, why):
        if {"what": what, "why": why} in self.skipped:
            return
        self.skipped.append({"what": what, "why": why})
        say(f"skipped: {what}: {why}")

    def room(self, steps):
        """Which of these numbers of cells there can be, saying what binds."""
        most = self.connections - SPARE
        if max(steps) > most:
            self.skip(f"{max(steps)} cells", f"limit: cloisterd takes at most {self.connections} connections")
        if max(steps) > self.processes:
            self.skip(f"{max(steps)} cells", f"limit: about {self.processes} more processes may run here; "
                      "as root: sysctl kernel.pid_max=200000")
        return fitting(steps, min(most, self.processes))


class Rate:
    """Connections per second and the latency of one, with 1, 16 and 128 at a time."""
    name, title, rounds, seconds = "rate", "connections per second", 7, 14
    servers = ("cloisterd", "reference-fork", "reference-epoll")
    pieces = 8

    def __init__(self, context):
        self.context = context

    def sample(self, turn):
        out = {}
        for concurrent in PIECE:
            # Started anew, as each connection leaves a zombie under reference-fork, and pid_max is often 32768.
            with contextlib.ExitStack() as all_up:
                addresses = {name: all_up.enter_context(self.context.servers.start(name)).address for name in self.servers}
                for address in addresses.values():
                    self.context.load.rate(address, concurrent, 200)
                out |= in_pieces(self.context.load, addresses, concurrent, 2 if self.context.quick else self.pieces, turn)
        return out

    def rows(self):
        def row(concurrent, goal=0):
            return Row(f"rate.{concurrent}", f"connections/s, {concurrent} at a time, to fork", "/s",
                       f"cloisterd {concurrent}", f"reference-fork {concurrent}", goal=goal)
        return [row(1), row(16, 1.9), row(128),
                Row("rate.16.epoll", "the same at 16, of epoll to ours", "/s", "reference-epoll 16", "cloisterd 16",
                    "less", 2.3),
                *(Row(f"latency.{concurrent}.{share}", f"latency of a connection {share}, {concurrent} at a time, to fork",
                      "us", f"cloisterd {concurrent} {share}", f"reference-fork {concurrent} {share}", "less")
                  for concurrent in PIECE for share in ("p50", "p99"))]


class Peers:
    """Connections per second of other servers, 16 at a time."""
    name, title, rounds, seconds = "peers", "other servers", 5, 9
    total = 2000

    def __init__(self, context):
        self.context = context
        self.names = ["cloisterd", "reference-fork"]
        for name, peer in PEERS.items():
            missing = peer.missing()
            if missing:
                context.skip(peer.title, missing)
            else:
                self.names.append(name)

    def sample(self, turn):
        out = {}
        for name in in_turn(self.names, turn):
            out |= attempts(lambda peer=name: self.rate(peer), name) if name in PEERS else self.rate(name)
        return out

    def rate(self, name):
        with self.context.servers.start(name) as server:
            self.context.load.rate(server.address, 16, 100)
            total = self.total // (4 if self.context.quick else 1)
            return {name: self.context.load.rate(server.address, 16, total)["per_second"]}

    def rows(self):
        return [Row(f"peers.{name}", f"connections/s, 16 at a time, to {PEERS[name].title}", "/s", "cloisterd", name)
                for name in self.names[2:]]


class Idle:
    """The same daemon's rate and latency, at 1, 16 and 128 at a time, with more and more idle cells beside, or fewer
    and fewer."""
    name, title, rounds, seconds = "idle", "connections per second beside idle cells", 5, 45
    # The first thousands of connections after many cells came or went are slower: the kernel fills its caches again.
    settling = 4000
    pieces = 7

    def __init__(self, context):
        self.context = context
        self.steps = context.room([1000] if context.quick else [1000, 10000, 30000])

    def sample(self, turn):
        out = {}
        load = self.context.load
        most = max(self.steps, default=0)
        with self.context.servers.start("cloisterd", connections=most + SPARE) as server, contextlib.ExitStack() as all_idle:
            def measure(beside):
                load.rate(server.address, 16, self.settling)
                for concurrent in PIECE:
                    out.update(in_pieces(load, {f"{beside}": server.address}, concurrent,
                                         2 if self.context.quick else self.pieces))
            batches = [step - before for before, step in zip([0, *self.steps], self.steps)]
            if turn % 2 == 0:
                measure(0)
                for step, batch in zip(self.steps, batches):
                    all_idle.enter_context(load.idle(server.address, batch))
                    measure(step)
            else:
                held = []
                for batch in batches:
                    held.append(all_idle.enter_context(contextlib.ExitStack()))
                    held[-1].enter_context(load.idle(server.address, batch))
                for step in reversed(self.steps):
                    measure(step)
                    held.pop().close()
                    time.sleep(0.5)  # the last of their cells end
                measure(0)
        return out

    def rows(self):
        def rows(step, concurrent, goal=0, goal99=0):
            at = "" if concurrent == 16 else f".{concurrent}"
            beside = f"beside {step} idle cells, {concurrent} at a time, to none"
            yield Row(f"idle.{step}{at}", f"connections/s {beside}", "/s", f"{step} {concurrent}", f"0 {concurrent}", goal=goal)
            yield Row(f"idle.{step}{at}.p99", f"p99 {beside}", "us", f"{step} {concurrent} p99", f"0 {concurrent} p99", "less", goal99)
        return [row for step in self.steps for concurrent in PIECE
                for row in rows(step, concurrent, *((0.9, 1.25) if concurrent == 16 else ()))]


class PingPong:
    """Round trips of 64 bytes, one after the other, on one connection."""
    # On one processor, since only one of the two ends ever has anything to do: where the scheduler puts them makes a
    # factor of four, from run to run.
    name, title, rounds, seconds = "pingpong", "round trips on one connection", 7, 6
    servers = ("cloisterd", "reference-fork", "reference-epoll")

    def __init__(self, context):
        self.context = context

    def sample(self, turn):
        out = {}
        for name in in_turn(self.servers, turn):
            with on_one_processor(), self.context.servers.start(name) as server:
                result = self.context.load.measure("pingpong", server.address, warm_up="100ms",
                                                   duration="300ms" if self.context.quick else "1s")
                out[f"{name} p50"], out[f"{name} p99"] = result["latency_us"]["p50"], result["latency_us"]["p99"]
        return out

    def rows(self):
        return [Row("pingpong.p50", "round trip p50, to epoll", "us", "cloisterd p50", "reference-epoll p50", "less", 1.1),
                Row("pingpong.p99", "round trip p99, to epoll", "us", "cloisterd p99", "reference-epoll p99", "less")]


class Throughput:
    """Mebibytes per second of one connection and of eight; both servers have a buffer of 64 KiB."""
    name, title, rounds, seconds = "throughput", "throughput", 7, 17
    both = ("cloisterd", "reference-epoll")
    pieces = 8

    def __init__(self, context):
        self.context = context
        self.socat = not PEERS["socat"].missing()

    def sample(self, turn):
        out = self.of_one(turn)
        for name in in_turn(self.both, turn):
            with self.context.servers.start(name) as server:
                out[f"{name} 8"] = self.stream(server.address, 8, "2s")
        return out | (attempts(self.of_socat, "socat") if self.socat else {})

    def of_one(self, turn):
        """Means of many short turns: how fast a connection is depends on which processors its two ends come to
        share, for as long as it lives."""
        with contextlib.ExitStack() as all_up:
            addresses = {name: all_up.enter_context(self.context.servers.start(name)).address for name in self.both}
            results = taking_turns(addresses, 2 if self.context.quick else self.pieces, turn,
                                   lambda address: self.stream(address, 1, "400ms"))
        return {f"{name} 1": statistics.mean(values) for name, values in results.items()}

    def of_socat(self):
        with self.context.servers.start("socat") as server:
            return {"socat 1": self.stream(server.address, 1, "2s")}

    def stream(self, address, streams, duration):
        result = self.context.load.measure("stream", address, connections=streams, warm_up="200ms",
                                           duration="500ms" if self.context.quick else duration, timeout="3s")
        return result["mib_per_second"]

    def rows(self):
        rows = [Row("throughput.1", "throughput of one connection, to epoll", "MiB/s", "cloisterd 1",
                    "reference-epoll 1", goal=0.95),
                Row("throughput.8", "throughput of eight, to epoll", "MiB/s", "cloisterd 8", "reference-epoll 8")]
        if self.socat:
            rows += [Row("throughput.1.socat", "throughput of one connection, to socat fork PIPE", "MiB/s",
                         "cloisterd 1", "socat 1", goal=2)]
        return rows


class Memory:
    """What an idle connection costs, both ends of its socket included, and what of it is whose."""
    name, title, rounds, seconds = "memory", "memory of an idle connection", 3, 60

    def __init__(self, context):
        self.context = context
        self.steps = context.room([1000] if context.quick else [1000, 10000, 60000])
        self.fork_steps = [step for step in self.steps if step <= 10000]

    def sample(self, turn):
        out = {}
        for name in in_turn(("cloisterd", "reference-fork"), turn):
            out |= self.undisturbed(name, self.steps if name == "cloisterd" else self.fork_steps)
        return out

    def undisturbed(self, name, steps):
        """What others allocate or free meanwhile is in all sums but the group's: such samples are thrown away."""
        for _ in range(3):
            with Group("memory") as group:
                out = self.sample_server(name, steps, group)
            if all(self.plausible(out, f"{name} {step}") for step in steps):
                return out
            say(f"memory of {name}: disturbed by other programs, again")
        return {key: figure for key, figure in out.items() if key.endswith(" group")}

    @staticmethod
    def plausible(out, prefix):
        total, charged = out[f"{prefix} sum"], out.get(f"{prefix} group")
        return total > 0 if charged is None else abs(total - charged) < charged / 2

    def sample_server(self, name, steps, group):
        out = {}
        load = self.context.load
        with self.context.servers.start(name, group, max(steps, default=0) + SPARE) as server:
            with load.idle(server.address, 100, group):  # what is allocated once is allocated now
                pass
            time.sleep(1)
            before, charged = settled_memory(), group.read()
            with contextlib.ExitStack() as all_idle:
                up = 0
                for step in steps:
                    all_idle.enter_context(load.idle(server.address, step - up, group))
                    up = step
                    now = settled_memory()
                    for part in now:
                        out[f"{name} {step} {part}"] = (now[part] - before[part]) / step
                    if charged is not None:
                        out[f"{name} {step} group"] = (group.read() - charged) / 1024 / step
        return out

    def rows(self):
        rows = [Row(f"memory.{step}", f"an idle connection, {step} of them", "KiB", f"cloisterd {step} sum",
                    better="less", goal=105) for step in self.steps]
        for step in self.steps[-1:]:
            rows += [Row(f"memory.{step}.machine", "the same, as all that is not free or cache", "KiB",
                         f"cloisterd {step} machine", better="less"),
                     Row(f"memory.{step}.group", "the same, as a memory cgroup counts", "KiB",
                         f"cloisterd {step} group", better="less")]
        for step in self.fork_steps[-1:]:
            rows += [Row(f"memory.{step}.fork", f"an idle connection, {step} of them, to fork", "KiB",
                         f"cloisterd {step} sum", f"reference-fork {step} sum", "less")]
        return rows


class Vanish:
    """All clients go at the same moment: how long until no cell is left, and the slowest load of a seccomp filter by
    another program meanwhile. A kernel that frees a program for each process can come to a standstill there; so each
    step follows only if a cell has no filter but the listener's, and the step before did no harm."""
    name, title, rounds, seconds = "vanish", "all clients vanish at once", 1, 60
    patience, harm = 60, 1

    def __init__(self, context):
        self.context = context
        self.program = context.binaries / "cloister-mass-exit"
        self.steps = context.room([1000] if context.quick else [1000, 5000, 60000])

    def sample(self, _turn):
        out = {}
        for step in self.steps:
            with self.context.servers.start("cloisterd", connections=step + SPARE) as server, \
                    ThreadPoolExecutor(1) as pool:
                with self.context.load.idle(server.address, step, close_rate="all"):
                    require_no_filter_of_its_own(children_of(server.pid)[0], server.pid)
                    watch = pool.submit(self.watch, server.pid)
                    begun = time.monotonic()
                ended, loads = watch.result()
            out[f"{step} gone"], out[f"{step} load"] = ended - begun, max(loads)
            say(f"{step} cells were gone after {ended - begun:.2f} s; the slowest of {len(loads)} loads of a filter "
                f"took {1000 * max(loads):.1f} ms")
            if max(loads) > self.harm:
                self.context.skip("more cells", f"loading a filter took {max(loads):.1f} s")
                break
        return out

    def watch(self, listener):
        """Until it has no child any more, zombies included."""
        loads = []
        until = time.monotonic() + self.patience
        while time.monotonic() < until:
            loads.append(self.load_a_filter())
            if not children_of(listener):
                return time.monotonic(), loads + [self.load_a_filter()]
        raise BenchError(f"{len(children_of(listener))} cells are still there {self.patience} s after their clients")

    def load_a_filter(self):
        done = subprocess.run([self.program, "load"], stdout=subprocess.PIPE, timeout=600, check=True)
        return json.loads(done.stdout)["load_s"]

    def rows(self):
        return [row for step in self.steps for row in (
            Row(f"vanish.{step}.load", f"load of a filter while {step} cells end at once", "s", f"{step} load",
                better="less", goal=self.harm),
            Row(f"vanish.{step}", f"until {step} cells are gone", "s", f"{step} gone", better="less"))]


class Cpu:
    """Processor seconds that 10 000 connections cost, of the process that accepts and of the others apart."""
    name, title, rounds, seconds = "cpu", "processor time", 5, 8
    servers = ("cloisterd", "reference-fork", "reference-epoll")
    total = 10000

    def __init__(self, context):
        self.context = context

    def sample(self, turn):
        total = self.total // (4 if self.context.quick else 1)
        out = {}
        for name in in_turn(self.servers, turn):
            with Group("cpuacct") as group, self.context.servers.start(name, group) as server:
                self.context.load.rate(server.address, 16, 200)
                before = self.used(group, server.pid)
                self.context.load.rate(server.address, 16, total)
                after = self.used(group, server.pid)
            for part, first, last in zip(("parent", "cells"), before, after):
                out[f"{name} {part}"] = (last - first) * 10000 / total
            out[f"{name} all"] = out[f"{name} parent"] + out[f"{name} cells"]
        return out

    @staticmethod
    def used(group, pid):
        """Without a group only the children count that their parent has reaped: not those of reference-fork."""
        time.sleep(0.3)  # the last children end
        own, reaped = cpu_of(pid)
        everything = group.read()
        return own, reaped if everything is None else everything - own

    def rows(self):
        return [Row("cpu", "processor time of 10 000 connections, to fork", "s", "cloisterd all", "reference-fork all", "less"),
                Row("cpu.parent", "of it the listener", "s", "cloisterd parent", better="less"),
                Row("cpu.cells", "of it the cells", "s", "cloisterd cells", better="less")]


class Setup:
    """Microseconds of each step of a setup, nanoseconds of each call, by Google Benchmark."""
    name, title, rounds, seconds = "setup", "cost of a setup's steps and of filtered calls", 3, 8

    def __init__(self, context):
        self.context = context
        self.program = context.binaries / "cloister-setup"
        if not self.program.exists():
            context.skip("setup", "cloister-setup was not built: it needs Google Benchmark; apt-get install libbenchmark-dev")

    def sample(self, _turn):
        if not self.program.exists():
            return {}
        done = subprocess.run([self.program, self.context.source / "policy", "--benchmark_format=json"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise BenchError(f"cloister-setup ended with {done.returncode}")
        out = {}
        for one in json.loads(done.stdout)["benchmarks"]:
            if one.get("error_occurred"):
                raise BenchError(f"cloister-setup: {one['name']}: {one['error_message']}")
            kind, step, *how = re.sub("/(iterations:[0-9]+|manual_time)", "", one["name"]).split("/")
            nanoseconds = one.get("p50_ns", one["real_time"])
            out[" ".join([kind, step, *how])] = nanoseconds if kind == "call" else nanoseconds / 1000
        out["steps"] = sum(figure for key, figure in out.items()
                           if key.startswith("setup ") and key not in ("setup clone", "setup fork_and_reap"))
        return out

    def rows(self):
        if not self.program.exists():
            return []
        return [Row("setup.fork", "fork, exit and wait of a small process", "us", "setup fork_and_reap", better="less"),
                Row("setup.steps", "all steps of a setup after the clone, to a filter of its own", "us", "steps",
                    "spared seccomp", "less"),
                *(Row(f"call.{call}", f"{call} with the filter, to without", "ns", f"call {call} filtered",
                      f"call {call} free", "less") for call in ("recvfrom", "sendto", "shutdown", "close"))]


MEASURES = {one.name: one for one in (Rate, Peers, Idle, PingPong, Throughput, Memory, Vanish, Cpu, Setup)}
