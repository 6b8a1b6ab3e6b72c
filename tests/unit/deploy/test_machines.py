"""Which Pythons the project runs on, and what is said of one that will not do."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts import bootstrap

ROOT = bootstrap.ROOT
FIND = ROOT / "scripts" / "find_python.sh"
MINORS = range(bootstrap.OLDEST[1], bootstrap.NEWEST[1] + 1)


def pins() -> dict[str, list[Requirement]]:
    """The lines of constraints.txt by package."""
    found: dict[str, list[Requirement]] = {}
    for line in bootstrap.CONSTRAINTS.read_text().splitlines():
        if not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(re.sub(r"[-_.]+", "-", requirement.name).lower(), []).append(requirement)
    return found


@pytest.mark.parametrize("minor", MINORS)
def test_every_package_has_one_pin_on_each_python(minor: int) -> None:
    place = {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.0"}
    for name, lines in pins().items():
        fitting = [line for line in lines if line.marker is None or line.marker.evaluate(place)]
        assert len(fitting) == 1, f"{name} on Python 3.{minor}: {[str(line) for line in fitting]}"
        [specifier] = fitting[0].specifier
        assert specifier.operator == "==", name


def test_classifiers_name_the_same_pythons() -> None:
    file = configparser.ConfigParser()
    file.read(ROOT / "setup.cfg")
    named = re.findall(r"Python :: 3\.(\d+)", file["metadata"]["classifiers"])
    # 3.9: the two packages run in the stock image; the pins are not for it.
    assert [int(minor) for minor in named] == [9, *MINORS]
    assert file["options"]["python_requires"] == ">=3.9"


@pytest.mark.parametrize("version", [(3, minor, 1) for minor in MINORS])
def test_these_fit(version: tuple[int, ...]) -> None:
    assert bootstrap.unfit(version, bootstrap.OLDEST, bootstrap.NEWEST) is None


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 15, 0), (4, 0, 0)])
def test_others_are_told_what_would(version: tuple[int, ...]) -> None:
    text = bootstrap.unfit(version, bootstrap.OLDEST, bootstrap.NEWEST)
    assert text == f"it is Python {'.'.join(map(str, version))}, and the pinned packages are for 3.10 to 3.14"


def find(path: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """find_python.sh with nothing but ``path`` to search."""
    plain = {"PATH": path or "/nowhere", "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        ["/bin/sh", str(FIND)], env={**plain, **environ}, cwd="/", capture_output=True, text=True, timeout=60
    )


def pretend(folder: Path, name: str, version: str, why: str) -> None:
    """A command that answers as a Python of this version would: whether it can be asked, and whether it fits."""
    asked = f'case "$1" in -c) echo {version} ;; *) {why} ;; esac'
    script = folder / name
    script.write_text(f"#!/bin/sh\n{asked}\n")
    script.chmod(0o755)


def test_the_python_that_is_there_is_taken(tmp_path: Path) -> None:
    os.symlink(sys.executable, tmp_path / "python3")
    found = find(str(tmp_path))
    assert (found.returncode, found.stdout) == (0, "python3\n")


def test_nobody_is_told_to_install_what_is_there(tmp_path: Path) -> None:
    pretend(tmp_path, "python3", "True", "echo it is Python 3.15.0, and so on >&2; exit 1")
    found = find(str(tmp_path))
    assert found.returncode == 1
    assert "python3: it is Python 3.15.0, and so on" in found.stderr
    assert "install" not in found.stderr


def test_a_later_one_that_fits_is_found(tmp_path: Path) -> None:
    pretend(tmp_path, "python3", "False", "exit 1")
    os.symlink(sys.executable, tmp_path / "python3.13")
    assert find(str(tmp_path)).stdout == "python3.13\n"


def test_without_any_the_packages_are_named() -> None:
    found = find()
    assert found.returncode == 1
    assert "apt-get install python3 python3-venv" in found.stderr


def test_a_named_one_is_taken_or_refused_never_replaced(tmp_path: Path) -> None:
    assert find(PYTHON=sys.executable).stdout == f"{sys.executable}\n"
    os.symlink(sys.executable, tmp_path / "python3")
    found = find(str(tmp_path), PYTHON="/nowhere/python")
    assert (found.returncode, found.stdout) == (1, "")
    assert "/nowhere/python does not run" in found.stderr


def test_the_bar_counts_what_pip_has_fetched_and_placed(tmp_path: Path) -> None:
    log = tmp_path / "install.log"
    log.write_text("")
    assert bootstrap.progress(tmp_path, log) == 0
    log.write_text("".join(f"Collecting package{n}==1 (from x)\n  Downloading …\n" for n in range(len(pins()))))
    assert bootstrap.progress(tmp_path, log) == 0.5
    for n in range(len(pins())):
        (tmp_path / "lib" / "python3.13" / "site-packages" / f"package{n}-1.dist-info").mkdir(parents=True)
    assert bootstrap.progress(tmp_path, log) == 1
