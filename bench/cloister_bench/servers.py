# SPDX-License-Identifier: MIT
"""The servers that are compared. Each is started anew, yields where it listens, and is gone afterwards."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import BenchError, say

RUN_AS = "61007:61007"  # any user that owns nothing and runs nothing else
MOST_CONNECTIONS = 100000


@dataclass
class Running:
    address: str
    pid: int  # of the process that accepts


def spawn(command, group=None, **options):
    """In a session of its own: an interrupt is for us, and we end the others in an orderly way."""
    return subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, start_new_session=True,
                            preexec_fn=group.enter if group else None, **options)


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise BenchError(f"{process.args[0]} did not end within 60 s of SIGTERM") from None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    for _ in range(250):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise BenchError(f"{process.args[0]} does not listen on port {port}")


# Other people's servers, each with the Debian package that has it.

@contextlib.contextmanager
def no_files(_port):
    yield {}


@contextlib.contextmanager
def inetd_files(port):
    """inetd knows its own echo by the service's name only, so it gets an /etc/services where that has our port."""
    with tempfile.TemporaryDirectory(prefix="cloister-bench-") as directory:
        services, config = Path(directory) / "services", Path(directory) / "inetd.conf"
        services.write_text(f"echo {port}/tcp\n")
        config.write_text("127.0.0.1:echo stream tcp nowait.1000000 root internal\n")
        yield {"services": services, "config": config}


@dataclass
class Peer:
    title: str
    package: str
    program: str
    command: tuple
    files: object = no_files
    as_root: bool = False

    def missing(self):
        """None, or what is missing and what helps."""
        if shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            return f"{self.program} is not installed; bench/run --install-peers, or apt-get install {self.package}"
        if self.as_root and os.geteuid() != 0:
            return "needs root, for an /etc/services of its own"
        return None

    @contextlib.contextmanager
    def run(self, group):
        port = free_port()
        with self.files(port) as files:
            command = [word.format(port=port, **files) for word in self.command]
            process = spawn(command, group, stderr=subprocess.DEVNULL)
            try:
                wait_for_port(port, process)
                yield Running(f"127.0.0.1:{port}", process.pid)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)  # a child of socat's that waits for itself would stay
                stop(process)


# One client makes all connections here. What admission costs is in it: nothing is switched off.
UNLIMITED = {"CLOISTER_MAX_PER_SOURCE": "1048576", "CLOISTER_SOURCE_RATE": "1000000/s", "CLOISTER_DEFER_ACCEPT": "off"}

PEERS = {
    "socat": Peer("socat fork PIPE", "socat", "socat",
                  ("socat", "TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=1024", "PIPE")),
    "tcpserver": Peer("tcpserver cat", "ucspi-tcp-ipv6", "tcpserver",
                      ("tcpserver", "-q", "-H", "-R", "-l", "0", "-c", "1000", "-b", "1024", "127.0.0.1", "{port}", "cat")),
    "inetd": Peer("openbsd-inetd internal echo", "openbsd-inetd", "inetd",
                  ("unshare", "--mount", "sh", "-c",
                   "mount --bind {services} /etc/services && exec /usr/sbin/inetd -i {config}"), inetd_files, True),
    "systemd": Peer("systemd-socket-activate cat", "systemd", "systemd-socket-activate",
                    ("systemd-socket-activate", "--accept", "--inetd", "-l", "127.0.0.1:{port}", "cat")),
}


def install_peers(source):
    """Debian's packages; scripts/setup says what to do where we may not."""
    packages = sorted({peer.package for peer in PEERS.values()} | {"python3-matplotlib"})
    return subprocess.run([source / "scripts/setup", *packages], check=False).returncode


def most_connections(binaries):
    """What cloisterd accepts as --max-connections."""
    command = [str(binaries / "cloisterd"), "--check", "--max-connections", str(MOST_CONNECTIONS)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        return MOST_CONNECTIONS
    if done.returncode != 64:
        raise BenchError(f"cloisterd --check: {done.stderr.strip()}")
    accepted = re.search(r"more than (\d+)", done.stderr)
    return int(accepted.group(1)) if accepted else 1000


def read_records(log):
    for line in log.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)


class Servers:
    def __init__(self, binaries):
        self.binaries = binaries

    def start(self, name, group=None, connections=1000):
        if name == "cloisterd":
            return self.cloisterd(group, connections)
        if name in PEERS:
            return PEERS[name].run(group)
        return self.reference(name, group)

    @contextlib.contextmanager
    def cloisterd(self, group, connections):
        command = [self.binaries / "cloisterd", "--listen", "127.0.0.1:0", "--max-connections", connections,
                   "--idle-timeout", "10m", "--lifetime", "1h"]
        if os.geteuid() == 0:
            command += ["--user", RUN_AS]
        with tempfile.NamedTemporaryFile(prefix="cloister-bench-", suffix=".log") as log:
            process = spawn(command, group, stderr=log, env=os.environ | UNLIMITED)
            try:
                ready = self.await_ready(process, Path(log.name))
                yield Running(ready["listen"][0], ready["listener_pid"])
            finally:
                stop(process)

    @staticmethod
    def await_ready(process, log):
        until = time.monotonic() + 30
        while time.monotonic() < until and process.poll() is None:
            records = list(read_records(log))
            for ready in (record for record in records if record.get("event") == "ready"):
                for record in records:
                    if record.get("event") == "limit":
                        say(f"limit: {record.get('message', record)}")
                return ready
            time.sleep(0.02)
        raise BenchError(f"cloisterd did not become ready; it said:\n{log.read_text()}")

    @contextlib.contextmanager
    def reference(self, name, group):
        process = spawn([self.binaries / name, 0], group, stdout=subprocess.PIPE, text=True)
        try:
            yield Running(f"127.0.0.1:{int(process.stdout.readline())}", process.pid)
        finally:
            stop(process)
            # Its zombies now belong to init, which takes a moment for some thousands of them.
            time.sleep(0.3)
