# SPDX-License-Identifier: MIT
"""The load generator."""
import contextlib
import json
import subprocess

from . import BenchError

CLOSED_PER_SECOND = 5000


class Load:
    def __init__(self, binaries):
        self.program = str(binaries / "cloister-load")

    def measure(self, mode, address, **options):
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        done = subprocess.run([self.program, mode, address, *words], stdout=subprocess.PIPE, text=True, timeout=300,
                              start_new_session=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"cloister-load {mode} {address} {' '.join(words)}: {done.stdout.strip() or done.returncode}")
        return json.loads(done.stdout)

    def rate(self, address, concurrent, total):
        """Short connections, as cheap for the client as they can be: it shares the processors with the server."""
        return self.measure("rate", address, connections=concurrent, bytes=64, total=total, close="early")

    @contextlib.contextmanager
    def idle(self, address, connections, group=None, close_rate=CLOSED_PER_SECOND):
        """Connections that are there while the context is; they are closed at a moderate rate, or 'all' at once."""
        command = [self.program, "idle", address, f"--connections={connections}", "--echo",
                   f"--close-rate={close_rate}"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   start_new_session=True, preexec_fn=group.enter if group else None)
        try:
            up = json.loads(process.stdout.readline() or '{"up": 0}')
            if up["up"] != connections:
                raise BenchError(f"only {up['up']} of {connections} idle connections came up at {address}")
            yield
        finally:
            process.stdin.close()
            left = process.stdout.read()
            code = process.wait()
        if code != 0:
            raise BenchError(f"idle connections were lost at {address}: {left.strip()}")
