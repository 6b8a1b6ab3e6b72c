"""The requests of docs/kserve-walkthrough.md, typed as there, against the wrapper and real TorchServe."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.unit.deploy.manifests import ROOT
from tests.unit.deploy.walkthrough_page import Command, commands

if TYPE_CHECKING:
    from tests.serving.servers import Served


@pytest.mark.parametrize("command", [c for c in commands() if c.is_request], ids=lambda c: c.line[-60:])
def test_a_request_is_answered_as_the_page_says(served: Served, command: Command) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    address = urlsplit(served.base)
    variables = {
        **os.environ,
        "INGRESS_HOST": str(address.hostname),
        "INGRESS_PORT": str(address.port),
        "MODEL_NAME": "mnist",
        "SERVICE_HOSTNAME": "torchserve-pvc.default.example.com",
    }
    ran = subprocess.run(["bash", "-c", command.line], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    beginning, _, rest = command.printed.strip().partition(", …")
    if rest:
        shown, numbers = parts(beginning)
        answered, got = parts(ran.stdout)
        assert answered[: len(shown) - 1] == shown[:-1]
        # The last digits of a sum of floats depend on how it was split among threads.
        assert got[: len(numbers)] == pytest.approx(numbers, abs=1e-5)
        assert ran.stdout.endswith(rest)
    else:
        assert ran.stdout == beginning


def parts(text: str) -> tuple[list[str], list[float]]:
    """What stands between floats, and the floats."""
    found = re.split(r"(-?\d+\.\d{4,}(?:e-?\d+)?)", text)
    return found[::2], [float(number) for number in found[1::2]]
