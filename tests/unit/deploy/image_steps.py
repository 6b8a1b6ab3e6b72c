"""Runs the image's steps (config/runtime/steps/) without a container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.deploy.manifests import CONFIG, ROOT

RUNTIME = CONFIG / "runtime"
DOCKERFILE = (RUNTIME / "Dockerfile").read_text(encoding="utf-8")
UNREACHABLE = re.compile(r"NewConnectionError|Failed to establish|name resolution|ConnectTimeout|ReadTimeout")


def copied() -> list[str]:
    """What the image takes from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def run(step: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", str(RUNTIME / "steps" / step)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)


def build(place: Path, light: bool) -> tuple[Path, dict[str, str]]:
    """Runs the steps of the first stage in an empty place, with the files that the image gets and no others.

    Args:
        light: without torch, TorchServe and Java.

    Returns:
        The place, whose environment is ``venv``, and the variables that the steps ran with.
    """
    for source in copied():
        (place / "src" / source).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, place / "src" / source, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copyfile(ROOT / source, place / "src" / source)
    # No compiler within reach: as in the image, what has no wheel cannot be built.
    tools = place / "tools"
    tools.mkdir()
    for tool in ("sh", "find", "rm", "mkdir", "ln", "grep", "chown", "chmod", "uname", "dirname", "touch"):
        found = shutil.which(tool)
        assert found, tool
        (tools / tool).symlink_to(found)
    environment = {
        "PATH": str(tools),
        "HOME": str(place),
        "PYTHON": sys.executable,
        "PREFIX": str(place / "venv"),
        "SOURCE": str(place / "src"),
        "CONSTRAINTS": str(place / "src" / "constraints.txt"),
        "SBOM_REQUIREMENTS": str(place / "src" / "config" / "runtime" / "sbom-requirements.txt"),
        "DESTDIR": str(place / "root"),
        "LIGHT": "1" if light else "0",
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "NO_PROXY"))},
    }
    for step in ("10-venv.sh", "20-torch.sh", "30-packages.sh", "40-trim.sh", "50-sbom.sh"):
        ran = run(step, environment)
        if ran.returncode and UNREACHABLE.search(ran.stdout + ran.stderr):
            give_up = pytest.skip if light else pytest.fail
            give_up("no package index can be reached: the steps that install cannot run")
        assert ran.returncode == 0, f"{step}: {ran.stdout}{ran.stderr}"
    return place, environment
