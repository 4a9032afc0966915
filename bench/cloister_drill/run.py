# SPDX-License-Identifier: MIT
"""One drill on one server: its clients alone, then beside the attack."""
import contextlib
import json
import os
import subprocess
from dataclasses import dataclass

from cloister_bench import BenchError

from . import network as net
from . import verdict
from .servers import Surroundings

TARGET = f"{net.TARGET}:{net.PORT}"
CLIENT_RATE = 200  # a second
CLIENT_SOURCES = 10  # each in a network of its own, at 20 connections a second
PATIENCE = "1s"  # who is not served by then was not served
LATEST_END = 10  # seconds after the last client began


@dataclass
class Times:
    """Seconds."""
    alone: float
    beside: float  # from the first moment of the attack
    vanish: float  # when what goes to an attacker that vanishes is lost


FULL, QUICK = Times(5, 12, 2), Times(1, 2.4, 0.5)


def start(network, where, program, words, nice=0):
    return subprocess.Popen(network.inside(where, program, *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, start_new_session=True, text=True,
                            preexec_fn=(lambda: os.nice(nice)) if nice else None)


def finish(process, seconds):
    text, _ = process.communicate(timeout=seconds)
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise BenchError(f"{' '.join(process.args)}: no result, exit code {process.returncode}") from None


def end(process):
    if process.poll() is None:
        process.kill()
    process.communicate()


def clients(network, program, seconds):
    """Legitimate clients. They go first on a processor: those of the real world bring one of their own."""
    words = ["paced", TARGET, f"--from={net.FIRST_CLIENT}", f"--sources={CLIENT_SOURCES}", "--step=256",
             f"--rate={CLIENT_RATE}", f"--duration={round(seconds * 1000)}ms", f"--timeout={PATIENCE}"]
    process = start(network, "clients", program, words, nice=-5)
    try:
        figures = finish(process, seconds + 30)
    finally:
        end(process)
    latency = figures["latency_us"] or {}
    return {"attempts": figures["attempts"], "served": figures["served"], "p50": latency.get("p50"),
            "p99": latency.get("p99"), "errors": figures["errors"]}


def capacity(network_of, program, server):
    """Connections a second that are served to legitimate clients who want as many as there can be."""
    with network_of() as network, server.run(network, Surroundings(options={"--exempt": net.CLIENTS})):
        words = ["rate", TARGET, f"--from={net.FIRST_CLIENT}", f"--sources={CLIENT_SOURCES}", "--step=256", "--connections=16",
                 "--warm-up=500ms", "--duration=2s"]
        process = start(network, "clients", program, words)
        try:
            return finish(process, 30)["per_second"]
        finally:
            end(process)


def drill(network, program, server, one, times):
    """The figures of one round."""
    with server.run(network, one.surroundings) as running:
        alone = clients(network, program, times.alone)
        seconds = times.beside + LATEST_END  # at most: it ends when the clients have ended
        with contextlib.ExitStack() as stack:
            counted = stack.enter_context(one.during(network, running, times.vanish))
            processes = []
            for attack in one.attacks:
                processes.append(start(network, "attacker", program, attack.words(TARGET, seconds)))
                stack.callback(end, processes[-1])
            beside = clients(network, program, times.beside)
            for process in processes:
                process.terminate()
            attacks = [finish(process, 30) for process in processes]
        last_words = running.last_words()
    weak = [why for attack, figures in zip(one.attacks, attacks) if (why := attack.weak(figures))]
    if one.needs and not counted.get(one.needs):
        weak.append(f"no {one.needs}")
    return {"alone": alone, "beside": beside, "attacks": attacks, "counted": counted, "weak": "; ".join(weak),
            "last_words": last_words}


def row(network_of, program, server, one, times, rounds):
    """What the table says of a drill on a server. Each round has a network and a server of its own."""
    figures = []
    for _ in range(rounds):
        with network_of() as network:
            figures.append(drill(network, program, server, one, times))
    return {"drill": one.name, "title": one.title, "stated": one.describe(), "server": server.title,
            "settings": server.settings, "rounds": figures, **verdict.judge(figures, times is FULL)}
