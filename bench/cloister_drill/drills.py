# SPDX-License-Identifier: MIT
"""The attacks: each with its sources, its stated rate and size, and what it takes away from the server."""
import contextlib
import ipaddress
import os
import signal
import sys
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from .network import ATTACKERS, CLIENTS, FIRST_ATTACKER, FIRST_SPOOFED, SPOOFED
from .servers import Surroundings

OUR_NETWORKS = {"--network-prefix": "24,48", "--max-per-network": 16}


@dataclass
class Attack:
    """One run of cloister-load."""
    mode: str
    rate: int  # per second: what must be reached
    sources: int = 1
    step: int = 1
    connections: int = 1000  # at a time, at most
    options: dict = field(default_factory=dict)
    first: str = FIRST_ATTACKER

    def words(self, target, seconds):
        options = {"from": self.first, "sources": self.sources, "step": self.step, "rate": self.rate,
                   "connections": self.connections, "duration": f"{round(seconds * 1000)}ms", **self.options}
        return [self.mode, target, *(f"--{name}={value}" for name, value in options.items())]

    def describe(self):
        networks = -(-self.sources * self.step // 256)
        limit = f", up to {self.connections} held" if self.mode == "hold" else ""
        return (f"{self.sources} source{'s' * (self.sources > 1)} in {networks} network{'s' * (networks > 1)}, "
                f"{self.rate}/s{limit}")

    def weak(self, figures):
        """None, or how far the attack stayed below what it states. It starts no more connections while it has all that
        it states, which includes those that the server's kernel does not answer any more."""
        if figures["per_second"] >= 0.95 * self.rate or figures.get("open", 0) >= 0.95 * self.connections:
            return None
        return f"{figures['per_second']:.0f}/s of {self.rate}/s"


@contextlib.contextmanager
def nothing(_network, _server, _after):
    yield {}


ESTABLISHED, SYN_RECEIVED = "01", "03"  # enum in include/net/tcp_states.h


def sockets(pid, state):
    """Of the network namespace of a process: the peer's address, and the inode. proc_pid_net(5)"""
    for file in ("tcp", "tcp6"):  # an IPv4 peer of an IPv6 socket is the end of a mapped address
        for line in Path(f"/proc/{pid}/net/{file}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == state:
                yield int.from_bytes(bytes.fromhex(words[2].split(":")[0][-8:]), sys.byteorder), words[9]


def within(address, prefix):
    return ipaddress.ip_address(address) in ipaddress.ip_network(prefix)


@contextlib.contextmanager
def block_log(_network, server, _after):
    server.log.block()
    yield {}


@contextlib.contextmanager
def vanish(network, server, after):
    """When the attacker has all it can get, nothing reaches it any more. Handshakes that the kernel keeps show that the SYN
    packets are good ones; the most it keeps is the backlog of the server, further ones get cookies."""
    counted = {}
    timer = threading.Timer(after, network.attacker_vanishes)
    timer.start()
    try:
        yield counted
        counted["handshakes pending"] = sum(within(peer, SPOOFED) for peer, _ in sockets(server.pid, SYN_RECEIVED))
    finally:
        timer.cancel()
        timer.join()


def children(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def crash(pid, links):
    """True if that was a cell of an attacker: its descriptor 0 is one of these. A pidfd cannot come to mean
    another process meanwhile."""
    with contextlib.suppress(OSError):
        cell = os.pidfd_open(int(pid))
        try:
            if os.readlink(f"/proc/{pid}/fd/0") in links:
                signal.pidfd_send_signal(cell, signal.SIGSEGV)
                return True
        finally:
            os.close(cell)
    return False


@contextlib.contextmanager
def crash_cells(_network, server, _after):
    """In place of a bug in a handler: SIGSEGV to each cell of an attacker."""
    counted, over = {"crashes": 0}, threading.Event()

    def hunt():
        while not over.wait(0.02):
            links = {f"socket:[{inode}]" for peer, inode in sockets(server.pid, ESTABLISHED) if within(peer, ATTACKERS)}
            cells = [cell for listener in children(server.pid) for cell in children(listener)] if links else []
            counted["crashes"] += sum(crash(cell, links) for cell in cells)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        yield counted
    finally:
        over.set()
        hunter.join()


@dataclass
class Drill:
    name: str
    title: str
    attacks: tuple
    surroundings: Surroundings = field(default_factory=Surroundings)
    during: object = nothing
    only_cloister: str = ""  # why it cannot be done to a peer
    needs: str = ""          # what the attack must have achieved besides its rate: a key of what `during` yields

    def scaled(self, factor):
        """The same for a slower machine."""
        return replace(self, attacks=tuple(replace(attack, rate=max(1, round(attack.rate * factor))) for attack in self.attacks))

    def describe(self):
        return "; ".join(attack.describe() for attack in self.attacks)


def hold(rate, connections, sources, say="once", **more):
    return Attack("hold", rate, sources, connections=connections, options={"say": say}, **more)


def storm(rate, close):
    return Attack("storm", rate, 16, connections=2000, options={"close": close, "timeout": "2s"})


DRILLS = {drill.name: drill for drill in (
    Drill("one-source", "one source takes all connections", (hold(1000, 2000, 1),)),
    Drill("10000-sources", "10 000 sources, 40 networks", (hold(4000, 10000, 10000),), Surroundings(options=OUR_NETWORKS)),
    Drill("10000-networks", "10 000 sources, each in a network of its own; clients are exempt",
          (hold(4000, 10000, 10000, step=256),), Surroundings(options={"--exempt": CLIENTS})),
    Drill("connect-close", "connect and close", (storm(3000, "plain"),)),
    Drill("rst-storm", "connect, a byte, RST", (storm(3000, "reset"),)),
    Drill("slowloris", "slowloris: a byte each second", (hold(500, 2000, 8, "trickle"),)),
    Drill("slow-readers", "send, and never receive", (hold(250, 1000, 8, "flood"),)),
    Drill("half-open", "peers vanish; a flood of SYN",
          (hold(4000, 2000, 8), Attack("syn", 10000, 65536, first=FIRST_SPOOFED)), during=vanish,
          needs="handshakes pending"),
    Drill("crash", "cells of the attackers crash (by SIGSEGV)", (hold(200, 2000, 200),), during=crash_cells, needs="crashes",
          only_cloister="done by a signal to the cells of cloister"),
    Drill("processes", "150 processes for the server", (hold(1000, 2000, 1),), Surroundings(processes=150)),
    Drill("descriptors", "340 descriptors for the server", (hold(1000, 2000, 1),), Surroundings(descriptors=340)),
    Drill("log-blocked", "nobody reads the log; connect, a byte, RST", (storm(500, "reset"),), Surroundings(log_piped=True),
          during=block_log),
)}
