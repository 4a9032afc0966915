# SPDX-License-Identifier: MIT
"""Clients of the echo service, each in the namespace of clients, from an address of its own."""
import asyncio
import itertools
import socket
import threading
import time

SOURCES = [f"192.0.2.{i}" for i in range(130, 250)]
LATEST = 10.0  # an echo that takes longer is an error


async def echo(target: tuple[str, int], source: str) -> None:
    reader, writer = await asyncio.open_connection(*target, local_addr=(source, 0))
    try:
        writer.write(b"64 bytes" * 8)
        if await reader.readexactly(64) != b"64 bytes" * 8:
            raise OSError("not what was sent")
    finally:
        writer.close()


class Load(threading.Thread):
    """Short connections, eight at a time, until it is left; each that fails has its begin and its end in `failed`."""

    def __init__(self, network, target: tuple[str, int]):
        super().__init__()
        self.network, self.target = network, target
        self.served, self.slowest, self.failed, self.over = 0, 0.0, [], False

    def run(self) -> None:
        self.network.enter("clients")
        asyncio.run(self.work())

    async def work(self) -> None:
        sources = itertools.cycle(SOURCES)
        await asyncio.gather(*(self.worker(sources) for _ in range(8)))

    async def worker(self, sources) -> None:
        while not self.over:
            begin = time.monotonic()
            try:
                await asyncio.wait_for(echo(self.target, next(sources)), LATEST)
                self.served += 1
                self.slowest = max(self.slowest, time.monotonic() - begin)
            except (OSError, EOFError, TimeoutError) as error:
                self.failed.append((begin, time.monotonic(), repr(error)))
            await asyncio.sleep(0.005)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.join()


class Held:
    """One connection that stays."""

    def __init__(self, network, target: tuple[str, int], source: str):
        def make() -> None:
            network.enter("clients")
            self.socket = socket.socket()

        thread = threading.Thread(target=make)  # the calling thread stays in its namespace
        thread.start()
        thread.join()
        self.socket.settimeout(LATEST)
        self.socket.bind((source, 0))
        try:
            self.socket.connect(target)
        except OSError:  # refused at once: it echoes nothing
            pass

    def close(self) -> None:
        self.socket.close()


def echoing(held: list[Held]) -> list[Held]:
    """Those that are served; all are asked before the first has to answer."""
    def attempt(do) -> bool:
        try:
            return bool(do())
        except OSError:
            return False

    asked = [one for one in held if attempt(lambda: one.socket.send(b"x"))]
    return [one for one in asked if attempt(lambda: one.socket.recv(1) == b"x")]


def hold(network, target: tuple[str, int], sources: list[str]) -> list[Held]:
    """Those that are served of as many as there are sources."""
    held = [Held(network, target, source) for source in sources]
    served = echoing(held)
    for one in held:
        if one not in served:
            one.close()
    return served
