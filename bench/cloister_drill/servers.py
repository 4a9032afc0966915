# SPDX-License-Identifier: MIT
"""The servers that are attacked, each with the protection that it has. All echo by a process for each connection."""
import contextlib
import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from cloister_bench import BenchError
from cloister_bench.servers import stop

from .network import PORT

UID = 61017  # any user that owns nothing and runs nothing else: RLIMIT_NPROC counts all processes of a user
PLACES = 1000
MOST_PROCESSES = 4000  # also of a server that has no limit
SEARCH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


@dataclass
class Surroundings:
    """What a drill takes away from a server, and what its operator has configured against the attack."""
    processes: int = MOST_PROCESSES
    descriptors: int = 4096
    log_piped: bool = False
    options: dict = field(default_factory=dict)  # of cloisterd

    def enter(self):
        resource.setrlimit(resource.RLIMIT_NPROC, (self.processes, self.processes))
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))


@dataclass
class Running:
    process: subprocess.Popen
    log: object

    @property
    def pid(self):
        return self.process.pid

    def last_words(self):
        """None while it runs; else the end of what it said."""
        return None if self.process.poll() is None else self.log.seen().strip()[-200:]


def listens(pid):
    """A socket of its network namespace listens on the port."""
    for file in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{file}").read_text().splitlines()[1:]:
            words = line.split()
            if words[1].endswith(f":{PORT:04X}") and words[3] == "0A":
                return True
    return False


def wait_until(condition, process, what, log):
    until = time.monotonic() + 15
    while time.monotonic() < until and process.poll() is None:
        if condition():
            return
        time.sleep(0.02)
    raise BenchError(f"{what}; it said: {log().strip() or 'nothing'}")


class LogPipe:
    """A pipe that has room for all that is logged before the attack. When it is blocked it is full, and nobody reads."""

    ROOM = 1 << 20  # what fs.pipe-max-size allows anybody, unless it was changed: pipe(7)

    def __init__(self):
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, self.ROOM)
        os.set_blocking(self.read_end, False)
        self.text = ""

    def seen(self):
        with contextlib.suppress(BlockingIOError):
            self.text += os.read(self.read_end, 65536).decode(errors="replace")
        return self.text

    def block(self):
        """The server's end must stay as it is (O_NONBLOCK belongs to the description), so this opens one of its own."""
        end = os.open(f"/proc/self/fd/{self.write_end}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(end, b"\n" * 4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(end, b"\n")
        os.close(end)

    def close(self):
        os.close(self.read_end)
        os.close(self.write_end)


class LogFile:
    def __init__(self):
        self.file = tempfile.NamedTemporaryFile(prefix="cloister-drill-", suffix=".log")
        self.write_end = self.file.fileno()

    def seen(self):
        return Path(self.file.name).read_text(errors="replace")

    def close(self):
        self.file.close()


class Server:
    """A subclass has a title and its settings, as the table shows them."""

    def missing(self):
        """None, or what is missing and what helps."""
        return None

    def applies(self, drill):
        """None, or why this drill says nothing about this server."""
        if drill.surroundings.log_piped and not self.logs_to_stderr:
            return "it does not log to standard error"
        return None

    @contextlib.contextmanager
    def run(self, network, surroundings):
        log = LogPipe() if surroundings.log_piped else LogFile()
        try:
            with self.files() as files:
                command = network.inside("server", *self.command(surroundings, files))
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                           stderr=log.write_end, start_new_session=True, preexec_fn=surroundings.enter)
                try:
                    wait_until(lambda: self.serves(process.pid, log), process, f"{self.title} does not serve", log.seen)
                    yield Running(process, log)
                finally:
                    self.end(process)
        finally:
            log.close()

    def serves(self, pid, _log):
        return listens(pid)

    @contextlib.contextmanager
    def files(self):
        yield {}


class Cloister(Server):
    logs_to_stderr = True

    def __init__(self, binaries, policies=None):
        self.binaries = binaries
        self.policies = policies
        self.title = "cloister"
        self.known = set(re.findall(r"--[a-z-]+", self.ask("--help")))
        self.settings = f"max-connections {PLACES}" + (
            ", max-per-source and source-rate as by default" if "--max-per-source" in self.known else
            "; it has no limits of a source")

    def ask(self, option):
        return subprocess.run([self.binaries / "cloisterd", option], stdout=subprocess.PIPE, text=True, check=True).stdout

    def command(self, surroundings, _files):
        options = {"--listen": f"0.0.0.0:{PORT}", "--user": f"{UID}:{UID}", "--max-connections": PLACES,
                   "--drain-timeout": "100ms", "--policy-dir": self.policies} | surroundings.options
        words = [word for option, value in options.items() if value and option in self.known for word in (option, value)]
        return [self.binaries / "cloisterd", *words]

    def serves(self, pid, log):
        return '"event":"ready"' in log.seen() and listens(pid)

    def end(self, process):
        if process.poll() is None:
            stop(process)


@dataclass
class Peer(Server):
    title: str
    package: str
    program: str
    words: tuple
    settings: str
    logs_to_stderr: bool = False
    config: str = ""

    def path(self):
        return shutil.which(self.program, path=SEARCH)

    def missing(self):
        return None if self.path() else f"{self.program} is not installed; {self.package}"

    def applies(self, drill):
        return drill.only_cloister or super().applies(drill)

    @contextlib.contextmanager
    def files(self):
        with tempfile.TemporaryDirectory(prefix="cloister-drill-") as directory:
            os.chmod(directory, 0o755)
            files = {name: Path(directory) / name for name in ("config", "log", "passwd", "group")}
            files["config"].write_text(self.config.format(port=PORT, places=PLACES))
            files["log"].touch(0o666)
            files["log"].chmod(0o666)
            for name, line in (("passwd", f"drill:x:{UID}:{UID}::/:/bin/false\n"), ("group", f"drill:x:{UID}:\n")):
                files[name].write_text(Path("/etc", name).read_text() + line)
            yield files

    def command(self, _surroundings, files):
        """In a PID namespace, which ends with its first process: no server leaves anything behind. The death signal
        must be set after the change of user, which clears it (PR_SET_PDEATHSIG in prctl(2)). In a mount namespace the
        user has a name, which some want."""
        words = [word.format(port=PORT, places=PLACES, **files) for word in self.words]
        named = ("mount --bind {passwd} /etc/passwd && mount --bind {group} /etc/group && exec \"$@\"").format(**files)
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", named, "sh", "setpriv",
                f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--pdeathsig=KILL", self.path(), *words]

    def end(self, process):
        process.send_signal(signal.SIGKILL)
        process.wait()


NOT_IN_DEBIAN = "Debian 12 has no package of it"
PEERS = {
    "tcpserver": Peer("tcpserver", "apt-get install ucspi-tcp-ipv6", "tcpserver",
                      ("-v", "-H", "-R", "-l", "0", "-c", "{places}", "-b", "1024", "0.0.0.0", "{port}", "cat"),
                      f"-c {PLACES} -b 1024", logs_to_stderr=True),
    "s6-tcpserver": Peer("s6-tcpserver", NOT_IN_DEBIAN, "s6-tcpserver",
                         ("-v", "-c", "{places}", "-C", "64", "-b", "1024", "0.0.0.0", "{port}", "cat"),
                         f"-c {PLACES} -C 64 -b 1024", logs_to_stderr=True),
    "xinetd": Peer("xinetd", "apt-get install xinetd (instead of openbsd-inetd, or unpacked with dpkg -x and in PATH)",
                   "xinetd", ("-dontfork", "-filelog", "{log}", "-f", "{config}"),
                   f"instances {PLACES}, per_source 64, cps 10000 1 (any lower one closes the service to everybody)",
                   config="service drill\n{{\n type = UNLISTED\n socket_type = stream\n protocol = tcp\n port = {port}\n"
                          " wait = no\n user = drill\n server = /bin/cat\n instances = {places}\n per_source = 64\n cps = 10000 1\n"
                          "}}\n"),
    "openbsd-inetd": Peer("openbsd-inetd", "apt-get install openbsd-inetd", "inetd", ("-i", "{config}"),
                          "nowait.1000000 (its rate limit would stop the service for everybody)",
                          config="{port} stream tcp nowait.1000000 drill /bin/cat cat\n"),
    "systemd-socket-activate": Peer("systemd-socket-activate", "apt-get install systemd", "systemd-socket-activate",
                                    ("--accept", "--inetd", "-l", "0.0.0.0:{port}", "cat"),
                                    "none (systemd's own Accept=yes has more: MaxConnectionsPerSource)", logs_to_stderr=True),
    "nsjail": Peer("nsjail", NOT_IN_DEBIAN, "nsjail",
                   ("-Ml", "--port", "{port}", "--max_conns", "{places}", "--max_conns_per_ip", "64", "--chroot", "/",
                    "--", "/bin/cat"), f"-Ml, max_conns {PLACES}, max_conns_per_ip 64", logs_to_stderr=True),
}
