"""What somebody new does, with the wheel's own files and none of the clone: new, build, serve, ask.

The packages it needs are those of this environment; `make newcomer` installs everything anew, which takes minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts import newcomer, release


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    try:
        wheel = newcomer.build_wheel(folder, "--no-build-isolation")
    except newcomer.WentWrong as error:
        pytest.fail(f"the wheel does not build: {error}")
    newcomer.unpack(wheel, folder / "unpacked")
    release.check(wheel)
    return folder / "unpacked"


def test_new_build_serve_ask(unpacked: Path, tmp_path: Path) -> None:
    environ = newcomer.clean_environment(PYTHONPATH=str(unpacked))
    where = [sys.executable, "-c", "import kserve_wrapper, mnist_handler; print(kserve_wrapper, mnist_handler)"]
    newcomer.run([*where[:2], f"{where[2]}; assert str(kserve_wrapper).count({str(unpacked)!r})"], tmp_path, environ)
    course = newcomer.Course([sys.executable, "-m", "kserve_wrapper.commands.main"], tmp_path, environ)
    newcomer.walk(course, "table", "--no-compile")
    assert list(course.seconds) == ["new", "build", "serve", "ask"]
    archives = [path.name for path in (tmp_path / "store").iterdir()]
    assert archives == [f"{newcomer.MODEL}.mar"]
