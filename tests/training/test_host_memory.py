import platform
import subprocess
import sys

import pytest

from pointata_jax.training.host_memory import keep_freed_memory

# Large buffers that come and go: with the defaults of glibc each is mapped anew, page by page.
_PROGRAM = """
import resource, sys
import numpy as np
from pointata_jax.training.host_memory import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(1 << 24, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    buffers = [np.ones(1 << 25, np.uint8) for _ in range(2)]
    del buffers
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_found_again():
    faults = {}
    for mode in ("default", "keep"):
        command = [sys.executable, "-c", _PROGRAM, mode]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        faults[mode] = int(done.stdout)
    assert faults["keep"] < 0.2 * faults["default"]


def test_a_setting_of_the_user_is_respected(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "65536")
    asked = []

    class Library:
        @staticmethod
        def mallopt(number, value):
            asked.append(number)
            return 1

    monkeypatch.setattr("ctypes.CDLL", lambda name: Library)
    keep_freed_memory()
    assert -4 not in asked
    assert -1 in asked
