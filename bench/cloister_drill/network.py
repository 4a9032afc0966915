# SPDX-License-Identifier: MIT
"""Three network namespaces: a server between an attacker and legitimate clients.

    attacker 10.128.0.0/9 --- 10.64.0.1 server 10.64.0.1 --- 10.96.0.0/16 clients

Both sides have whole prefixes as local routes, so a socket can be bound to any address of them (IP_FREEBIND, ip(7)).
10.112.0.0/12 is routed to the attacker, who does not have it: what is sent there is lost without an answer.
"""
import subprocess

from cloister_bench import BenchError

TARGET = "10.64.0.1"
PORT = 7007
CLIENTS, ATTACKERS = "10.96.0.0/16", "10.128.0.0/9"
FIRST_CLIENT, FIRST_ATTACKER, FIRST_SPOOFED = "10.96.0.1", "10.128.0.1", "10.112.0.1"
SPOOFED = "10.112.0.0/12"
# Nothing is forwarded: what nobody has is lost. Ports suffice for a storm from few addresses.
SYSCTLS = {"ip_forward": "0", "conf/all/rp_filter": "0", "conf/default/rp_filter": "0", "tcp_tw_reuse": "1",
           "ip_local_port_range": "1024 65535"}


class Network:
    """The namespaces are gone when it is left, or when this process ends: each lives as long as a process that waits
    for the end of a pipe."""

    def __enter__(self):
        self.holders = {name: subprocess.Popen(["unshare", "--net", "sh", "-c", "echo made; exec cat"],
                                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
                        for name in ("server", "attacker", "clients")}
        for name, holder in self.holders.items():
            if holder.stdout.readline() != b"made\n":
                self.__exit__()
                raise BenchError(f"no network namespace for the {name}: unshare --net failed")
        try:
            self.connect()
        except subprocess.CalledProcessError as error:
            self.__exit__()
            raise BenchError(f"{' '.join(error.cmd)}: {error.stderr.strip()}") from None
        return self

    def __exit__(self, *_):
        for holder in self.holders.values():
            holder.stdin.close()
            holder.wait()
            holder.stdout.close()

    def inside(self, name, *command):
        """The command that runs `command` in a namespace, under the process number that Popen returns."""
        return ["nsenter", f"--net=/proc/{self.holders[name].pid}/ns/net", "--", *map(str, command)]

    def run(self, name, *command):
        subprocess.run(self.inside(name, *command), check=True, capture_output=True, text=True)

    def ip(self, name, words):
        self.run(name, "ip", *words.split())

    def connect(self):
        for name in self.holders:
            self.ip(name, "link set lo up")
            self.run(name, "sh", "-c", "; ".join(f"echo {value} >/proc/sys/net/ipv4/{key}"
                                                 for key, value in SYSCTLS.items()))
        for name, ours, theirs, prefix in (("attacker", "10.64.0.1", "10.64.0.2", ATTACKERS),
                                           ("clients", "10.64.0.5", "10.64.0.6", CLIENTS)):
            self.ip("server", f"link add to-{name} type veth peer name uplink netns {self.holders[name].pid}")
            self.ip("server", f"address add {ours}/30 dev to-{name}")
            self.ip("server", f"link set to-{name} up")
            self.ip(name, f"address add {theirs}/30 dev uplink")
            self.ip(name, "link set uplink up")
            self.ip(name, f"route add default via {ours}")
            self.ip("server", f"route add {prefix} via {theirs}")
            self.ip(name, f"route add local {prefix} dev lo")
        self.ip("server", f"route add {SPOOFED} via 10.64.0.2")

    def attacker_vanishes(self):
        """What the server sends to it goes to a hardware address that nobody has, so not even a RST answers. What the
        attacker sends still arrives."""
        self.ip("server", "neighbour replace 10.64.0.9 lladdr 02:00:00:00:00:01 dev to-attacker nud permanent")
        self.ip("server", f"route replace {ATTACKERS} via 10.64.0.9 dev to-attacker onlink")
