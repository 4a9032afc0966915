# SPDX-License-Identifier: MIT
"""What the kernel says of the machine: memory, processor time, limits."""
import contextlib
import os
import platform
import time
from pathlib import Path

from . import BenchError, say

PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
SOCKET_CACHES = ("TCP", "TCPv6", "sock_inode_cache", "request_sock_TCP", "request_sock_TCPv6")


def describe_machine():
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return {"kernel": platform.release(), "processor": model, "processors": os.cpu_count(),
            "memory_gib": round(meminfo()["MemTotal"] / 2**20, 1)}


def busy_share():
    """How much of the processors others use while we do nothing."""
    def ticks():
        fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]
    total, idle = ticks()
    time.sleep(1)
    total2, idle2 = ticks()
    return 1 - (idle2 - idle) / max(total2 - total, 1)


@contextlib.contextmanager
def on_one_processor():
    """All that is started meanwhile stays on one processor."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def processes_to_have():
    """How many more processes there may be, with some left for others."""
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text())
    threads_max = int(Path("/proc/sys/kernel/threads-max").read_text())
    now = sum(name.isdigit() for name in os.listdir("/proc"))
    return max(min(pid_max, threads_max) - now - 1500, 0)


# Memory, in KiB. Two ways: the sum of what each part of the kernel says it holds, which other programs disturb little,
# and all that is neither free nor file cache, which forgets nothing but is noisy.

def meminfo():
    fields = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, value = line.split(":")
        fields[name] = int(value.split()[0])
    return fields


def socket_slab():
    """What the caches of sockets hold; nothing where only root may know."""
    with contextlib.suppress(OSError):
        lines = (line.split() for line in Path("/proc/slabinfo").read_text().splitlines())
        return sum(int(f[-2]) * int(f[5]) * PAGE_KIB for f in lines if f[0] in SOCKET_CACHES)
    return 0


def socket_buffers():
    fields = next(line.split() for line in Path("/proc/net/sockstat").read_text().splitlines()
                  if line.startswith("TCP:"))
    return int(fields[fields.index("mem") + 1]) * PAGE_KIB


def memory_parts():
    info = meminfo()
    slab_of_sockets = socket_slab()
    parts = {"pages": info["AnonPages"],
             "page_tables": info["PageTables"] + info.get("SecPageTables", 0),
             "kernel_stacks": info["KernelStack"],
             "sockets": slab_of_sockets + socket_buffers(),
             "other_slab": info["Slab"] - slab_of_sockets,
             # kernel stacks are vmalloc'ed where they are guarded, and counted in both
             "vmalloc": info["VmallocUsed"] - (info["KernelStack"] if info["VmallocUsed"] > info["KernelStack"] else 0),
             "per_cpu": info.get("Percpu", 0)}
    parts["sum"] = sum(parts.values())
    parts["machine"] = info["MemTotal"] - info["MemFree"] - info["Buffers"] - info["Cached"]
    return parts


def settled_memory():
    """The parts once they stand still: exits, RCU callbacks and per-CPU lists take their time."""
    samples = [memory_parts()]
    for _ in range(60):
        time.sleep(0.25)
        samples = [*samples[-3:], memory_parts()]
        sums = [sample["sum"] for sample in samples]
        if len(sums) == 4 and max(sums) - min(sums) < max(256, 0.0003 * sums[-1]):
            return samples[-1]
    say("memory does not stand still: something else runs on this machine")
    return samples[-1]


# Control groups, of either version: all that is started within one is counted together, zombies' past included.

class Group:
    """A group of our own below the one that we are in, for one controller; without rights it counts nothing."""

    FILES = {"cpuacct": ("cpuacct.usage", "cpu.stat"), "memory": ("memory.usage_in_bytes", "memory.current")}

    def __init__(self, controller):
        self.files = self.FILES[controller]
        self.path = None
        with contextlib.suppress(OSError, StopIteration):
            path = next(self.homes(controller)) / f"cloister-bench-{os.getpid()}"
            path.mkdir(exist_ok=True)
            self.path = path
            if self.read() is None:
                self.remove()

    @staticmethod
    def homes(controller):
        ours = {}
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            ours.update({name: path.lstrip("/") for name in names.split(",")})
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, where, kind, options = line.split()[:4]
            if kind == "cgroup" and controller in options.split(",") and controller in ours:
                yield Path(where) / ours[controller]
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, where, kind = line.split()[:3]
            if kind == "cgroup2" and "" in ours:
                yield Path(where) / ours[""]

    def enter(self):
        """For preexec_fn."""
        if self.path is not None:
            (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def read(self):
        """CPU seconds or bytes so far, or None."""
        first, second = self.files
        with contextlib.suppress(OSError):
            return int((self.path / first).read_text()) / (1e9 if first == "cpuacct.usage" else 1)
        with contextlib.suppress(OSError):
            text = (self.path / second).read_text()
            return int(text.split()[1]) / 1e6 if second == "cpu.stat" else int(text)
        return None

    def remove(self):
        if self.path is not None:
            for _ in range(50):
                with contextlib.suppress(OSError):
                    self.path.rmdir()
                    break
                time.sleep(0.1)
            self.path = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def children_of(pid):
    """All of them, zombies too (CONFIG_PROC_CHILDREN)."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def filters_of(pid):
    """How many seccomp programs hold for a process; 0, too, where the kernel doesn't say (before Linux 5.9)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next((line.split()[1] for line in status.splitlines() if line.startswith("Seccomp_filters:")), 0))


def require_no_filter_of_its_own(cell, listener):
    """What a cell shares with the listener is not freed when the cell ends."""
    of_cell, of_listener = filters_of(cell), filters_of(listener)
    if not of_cell == of_listener >= 1:
        raise BenchError(f"a cell is under {of_cell} filters, the listener under {of_listener}: many that end at once "
                         "could wedge this kernel")


def cpu_of(pid):
    """CPU seconds of one process, and those of its children that it has reaped."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own, children = (sum(int(fields[i]) for i in at) / os.sysconf("SC_CLK_TCK") for at in ((11, 12), (13, 14)))
    with contextlib.suppress(OSError):
        own = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    return own, children
