"""Who sees the supervisor end finds nothing of what it had started."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: A leader that leaves an orphan, of which it tells the process id, and ends; as TorchServe and a worker of it.
PROGRAM = """
import os, time
from kserve_wrapper.supervisor.processes import Child, become_reaper, wait_end, wait_gone
become_reaper()
child = Child("a leader", ["sh", "-c", "sleep 600 & echo $!"], dict(os.environ))
children = {child.pid: child}
wait_end([child], time.monotonic() + 60, children)
print(child.status, child.left_any(), flush=True)
wait_gone([child], time.monotonic() + 0.2, children)
print(child.left_any(), flush=True)
child.kill_group()
wait_gone([child], time.monotonic() + 60, children)
print(child.left_any(), flush=True)
"""


def test_an_orphan_counts_until_it_has_ended() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    orphan, *told = ran.stdout.split("\n")
    assert told == ["0 True", "True", "False", ""]
    with pytest.raises(ProcessLookupError):
        os.kill(int(orphan), 0)
