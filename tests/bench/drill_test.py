#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench/drill: what it refuses, what it calls a pass, and that its clients and attackers do what they report."""
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "bench"))

from cloister_drill import verdict  # noqa: E402
from cloister_drill.drills import DRILLS, Attack  # noqa: E402
from cloister_drill.network import CLIENTS  # noqa: E402

LOAD = sys.argv.pop(1)
USAGE = 64


def drill(*words):
    return subprocess.run([sys.executable, "-B", SOURCE / "bench/drill", *map(str, words)], capture_output=True, text=True,
                          check=False)


def load(*words):
    done = subprocess.run([LOAD, *map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def clients(attempts, served, p99):
    return {"attempts": attempts, "served": served, "p50": p99, "p99": p99}


ALONE = clients(1000, 1000, 500.0)


class Options(unittest.TestCase):
    def test_what_makes_no_sense_is_refused_before_anything_is_done(self):
        for words, why in ((["--only", "everything"], "invalid choice"), (["--server", "apache"], "invalid choice"),
                           (["--rounds", "0"], "is not from 1 to 99"), (["--quick", "--server", "xinetd"], "--quick: only with cloister"), (["more"], "unrecognized"),
                           (["--plot", "page.txt"], "must end in"), (["--json", "/nowhere/file"], "no directory"),
                           (["--results", "a.json", "--only", "crash"], "nothing is measured")):
            done = drill(*words)
            self.assertEqual(done.returncode, USAGE, words)
            self.assertIn(why, done.stderr)

    def test_a_file_of_something_else_is_refused(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            for text, why in (("", "Expecting value"), ("[]", "not a file that bench/drill"), ('{"kind": "drill"}', "another version")):
                Path(file.name).write_text(text)
                done = drill("--results", file.name)
                self.assertEqual(done.returncode, 1, text)
                self.assertIn(why, done.stderr)

    def test_the_load_generator_refuses_what_it_cannot_do(self):
        for words in (["paced", "127.0.0.1:7", "--bytes", "1K"], ["paced", "127.0.0.1:7", "--rate", "0"],
                      ["hold", "127.0.0.1:7", "--say", "nothing"], ["storm", "127.0.0.1:7", "--from", "localhost"],
                      ["hold", "[::1]:7", "--from", "10.0.0.1"], ["syn", "127.0.0.1:7"],
                      ["rate", "127.0.0.1:7", "--sources", "251"], ["hold", "127.0.0.1:7", "--step", "0"]):
            self.assertEqual(load(*words)[0], USAGE, words)


class Verdict(unittest.TestCase):
    def judge(self, beside, weak=False, judge_p99=True, alone=ALONE, ended=False):
        one = {"alone": alone, "beside": beside, "weak": "1/s of 2/s" if weak else "", "last_words": "" if ended else None}
        return verdict.judge([one], judge_p99)["verdict"]

    def test_999_of_1000_clients_in_three_times_their_time_are_enough_and_no_less(self):
        self.assertEqual(self.judge(clients(1000, 999, 1500.0)), "pass")
        self.assertEqual(self.judge(clients(1000, 998, 500.0)), "FAIL")
        self.assertEqual(self.judge(clients(1000, 1000, 1501.0)), "FAIL: p99")

    def test_an_attack_below_its_rate_has_shown_nothing(self):
        self.assertEqual(self.judge(clients(1000, 1000, 500.0), weak=True), "attack too weak (1/s of 2/s)")

    def test_clients_that_fail_without_an_attack_show_nothing(self):
        self.assertEqual(self.judge(clients(1000, 1000, 500.0), alone=clients(1000, 900, 1.0)), "not served without attack")

    def test_a_server_that_ends_has_failed_however_weak_the_attack(self):
        self.assertEqual(self.judge(clients(1000, 1000, 500.0), weak=True, ended=True), "FAIL: the server has ended")

    def test_where_nobody_was_served_no_p99_excuses_it(self):
        for judge_p99 in (False, True):
            self.assertEqual(self.judge(clients(1000, 0, None), judge_p99=judge_p99), "FAIL")
            self.assertEqual(self.judge(clients(0, 0, None), judge_p99=judge_p99), "FAIL")

    def test_of_several_rounds_the_median_p99_counts_and_every_client(self):
        rounds = [{"alone": ALONE, "beside": clients(1000, 1000, p99), "weak": "", "last_words": None}
                  for p99 in (400.0, 9000.0, 600.0)]
        self.assertEqual(verdict.judge(rounds, True)["factor"], 1.2)
        rounds[0]["beside"]["served"] = 996
        self.assertEqual(verdict.judge(rounds, True)["verdict"], "FAIL")
        rounds[1]["beside"]["p99"] = None
        self.assertIsNone(verdict.judge(rounds, True)["factor"])

    def test_a_short_run_does_not_judge_p99(self):
        self.assertEqual(self.judge(clients(300, 300, 9000.0), judge_p99=False), "pass")

    def test_no_share_is_rounded_up(self):
        self.assertEqual(verdict.percent(1999 / 2000), "99.95 %")
        self.assertEqual(verdict.percent(0.99999), "99.99 %")
        self.assertEqual(verdict.percent(1.0), "100 %")

    def test_an_attack_is_weak_below_its_rate_unless_it_has_all_that_it_states(self):
        attack = Attack("hold", 1000, connections=2000)
        self.assertIsNone(attack.weak({"per_second": 960, "open": 10}))
        self.assertIsNone(attack.weak({"per_second": 540, "open": 2000}))
        self.assertEqual(attack.weak({"per_second": 540, "open": 1000}), "540/s of 1000/s")
        self.assertIsNotNone(Attack("syn", 1000).weak({"per_second": 940}))


class Drills(unittest.TestCase):
    def test_clients_are_exempt_in_one_drill_only(self):
        exempt = [one.name for one in DRILLS.values() if CLIENTS in one.surroundings.options.values()]
        self.assertEqual(exempt, ["10000-networks"])

    def test_each_attack_is_one_that_the_load_generator_knows(self):
        known = subprocess.run([LOAD, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
        for attack in (attack for one in DRILLS.values() for attack in one.attacks):
            mode, _, *options = attack.words("127.0.0.1:7", 1)
            self.assertIn(f"\n  {mode} ", known)
            for option in options:
                self.assertIn(option.split("=")[0], known)


def held(pid):
    """Sockets of a process."""
    links = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()]
    return [link for link in links if link.startswith("socket:")]


@contextlib.contextmanager
def server(answer):
    """Calls answer(connection) in a thread for each connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listening:
        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection):
            with contextlib.suppress(OSError), connection:
                answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def echo(connection):
    while data := connection.recv(4096):
        connection.sendall(data)


def lie(connection):
    while data := connection.recv(4096):
        connection.sendall(data[::-1])


def cut(connection):
    connection.recv(1)


def stop_short(connection):
    data = b""
    while piece := connection.recv(4096):
        data += piece
    connection.sendall(data[:-1])


def be_silent(connection):
    time.sleep(5)


class Load(unittest.TestCase):
    def paced(self, answer, timeout):
        with server(answer) as target:
            return load("paced", target, "--rate", 50, "--duration", "1s", "--timeout", timeout)

    def test_clients_count_who_was_served(self):
        code, figures = self.paced(echo, "10s")
        self.assertEqual((code, figures["attempts"], figures["served"]), (0, 50, 50))
        self.assertEqual(figures["errors"]["total"], 0)

    def test_clients_notice_every_way_of_not_being_served(self):
        for answer, timeout, kind in ((lie, "10s", "mismatch"), (cut, "10s", "reset"), (stop_short, "10s", "short"),
                                      (be_silent, "300ms", "timeout")):
            code, figures = self.paced(answer, timeout)
            self.assertEqual((code, figures["attempts"], figures["served"]), (1, 50, 0))
            self.assertEqual(figures["errors"][kind], 50, figures)
        code, figures = load("paced", "127.0.0.1:1", "--rate", 50, "--duration", "1s")
        self.assertEqual((code, figures["errors"]["connect"]), (1, 50))

    def test_a_holder_keeps_what_it_states_and_opens_again_what_it_lost(self):
        with server(echo) as target:
            code, figures = load("hold", target, "--rate", 200, "--connections", 50, "--duration", "3s", "--say", "trickle")
        self.assertEqual((code, figures["attempts"], figures["held"], figures["lost"]), (0, 50, 50, 0))
        with server(cut) as target:
            code, figures = load("hold", target, "--rate", 100, "--connections", 20, "--duration", "1s")
        self.assertEqual(code, 0)
        self.assertGreater(figures["lost"], 20)

    def test_a_holder_that_never_receives_stops_an_echo(self):
        received, lock = {}, threading.Lock()

        def count(connection):
            while data := connection.recv(65536):
                with lock:
                    received[connection] = received.get(connection, 0) + len(data)
                connection.settimeout(0.5)
                connection.sendall(data)
            received.pop(connection)

        with server(count) as target:
            code, figures = load("hold", target, "--rate", 100, "--connections", 4, "--duration", "2s", "--say", "flood")
        self.assertEqual(code, 0)
        self.assertEqual(len(received), figures["connected"])  # none came to its end: each send timed out
        self.assertGreater(min(received.values()), 4096)

    def test_an_attack_ends_by_sigterm_and_reports(self):
        with server(echo) as target:
            attack = subprocess.Popen([LOAD, "hold", target, "--connections", "5", "--duration", "10m"], text=True,
                                      stdout=subprocess.PIPE)
            until = time.monotonic() + 30
            while Path(f"/proc/{attack.pid}/comm").read_text() != "cloister-load\n" or len(held(attack.pid)) < 5:
                self.assertLess(time.monotonic(), until)
                time.sleep(0.02)
            attack.terminate()
            figures = json.loads(attack.communicate(timeout=30)[0])
        self.assertEqual((attack.returncode, figures["attempts"]), (0, 5))
        self.assertLess(figures["seconds"], 600)

    def test_a_storm_resets_or_closes(self):
        for close, ends in (("reset", "reset"), ("plain", "end")):
            seen = []

            def see(connection):
                try:
                    while connection.recv(16):
                        pass
                    seen.append("end")
                except ConnectionResetError:
                    seen.append("reset")

            with server(see) as target:
                code, figures = load("storm", target, "--rate", 100, "--duration", "1s", "--close", close)
                until = time.monotonic() + 5
                while len(seen) < 100 and time.monotonic() < until:
                    time.sleep(0.02)
            self.assertEqual((code, figures["attempts"], figures["connected"]), (0, 100, 100))
            self.assertEqual(set(seen), {ends})


if __name__ == "__main__":
    unittest.main()
