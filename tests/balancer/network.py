# SPDX-License-Identifier: MIT
"""Five network namespaces: clients, a balancer, three machines.

    clients 192.0.2.0/24 --- 192.0.2.1 balancer 10.7.0.1 --- 10.7.0.11, .12, .13 machines
                    10.7.0.2 ------------------------+

The machines have the balancer as default route. All of 192.0.2.0/24 but .1 is local to the clients, so that a socket can be
bound to any address of it. The lower leg is the way of answers that do not pass the balancer: nothing takes it by itself.
"""
import ctypes
import os
import subprocess
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
MACHINES = {"m1": "10.7.0.11", "m2": "10.7.0.12", "m3": "10.7.0.13"}


class Network:
    """The namespaces are gone when it is left, or when this process ends: each lives as long as a process that waits for the
    end of a pipe."""

    def __enter__(self):
        self.holders = {}
        try:
            for name in ("clients", "balancer", *MACHINES):
                self.holders[name] = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo made; exec cat"],
                                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                if self.holders[name].stdout.readline() != b"made\n":
                    raise OSError("unshare --net failed")
                self.run(name, "ip link set lo up")
            self.connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for holder in self.holders.values():
            holder.stdin.close()
            holder.wait()
            holder.stdout.close()

    def path(self, name: str) -> str:
        return f"/proc/{self.holders[name].pid}/ns/net"

    def inside(self, name: str, *command) -> list[str]:
        """The command that runs `command` there, under the process number that Popen returns."""
        return ["nsenter", f"--net={self.path(name)}", "--", *map(str, command)]

    def run(self, name: str, words: str) -> str:
        done = subprocess.run(self.inside(name, *words.split()), capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{name}: {words}: {done.stderr.strip()}")
        return done.stdout

    def enter(self, name: str) -> None:
        """The sockets that this thread makes from now on are there."""
        with open(self.path(name)) as namespace:
            if LIBC.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns to {name}")

    def processes(self, name: str) -> list[int]:
        """All that run there, but the holder."""
        here, found = os.stat(self.path(name)).st_ino, []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdigit() and os.stat(process / "ns/net").st_ino == here:
                    found.append(int(process.name))
            except OSError:  # it has ended
                pass
        return [pid for pid in found if pid != self.holders[name].pid]

    def connect(self) -> None:
        def leg(name: str, link: str, address: str) -> None:
            self.run("balancer", f"ip link add {link} type veth peer name {link} netns {self.holders[name].pid}")
            self.run(name, f"ip address add {address} dev {link}")
            self.run(name, f"ip link set {link} up")
            self.run("balancer", f"ip link set {link} up")

        leg("clients", "front", "192.0.2.2/24")
        self.run("balancer", "ip address add 192.0.2.1/24 dev front")
        self.run("clients", "ip route add local 192.0.2.128/25 dev lo")
        self.run("balancer", "ip route add 192.0.2.128/25 via 192.0.2.2")
        self.run("balancer", "ip link add inner type bridge")
        self.run("balancer", "ip address add 10.7.0.1/24 dev inner")
        self.run("balancer", "ip link set inner up")
        for name, address in (MACHINES | {"clients": "10.7.0.2"}).items():
            leg(name, f"to-{name}", f"{address}/24")
            self.run("balancer", f"ip link set to-{name} master inner")
            if name in MACHINES:
                self.run(name, "ip route add default via 10.7.0.1")
        self.run("balancer", "sysctl -qw net.ipv4.ip_forward=1")
