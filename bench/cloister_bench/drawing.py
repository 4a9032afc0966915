# SPDX-License-Identifier: MIT
"""Which interpreter can draw."""
import shutil
import subprocess
import sys


def drawing_python():
    """An interpreter that has matplotlib: this one, or else the system's, where Debian's package puts it."""
    for python in (sys.executable, "/usr/bin/python3"):
        found = subprocess.run([python, "-c", "import matplotlib"], stderr=subprocess.DEVNULL, check=False) \
            if shutil.which(python) else None
        if found and found.returncode == 0:
            return python
    return None
