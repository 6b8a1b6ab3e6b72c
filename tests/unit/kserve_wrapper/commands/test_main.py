"""``ts-kserve``: it finds its commands, and says what is wrong with a line."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from kserve_wrapper._version import __version__
from kserve_wrapper.commands import COMMANDS
from kserve_wrapper.commands import main as command


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_tells_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: ts-kserve {name}")
    assert name in command.usage()


def test_every_module_of_the_package_is_a_command() -> None:
    package = Path(command.__file__).parent
    found = {path.stem for path in package.glob("*.py")} - {"__init__", "main"}
    commands = {module for module, _ in COMMANDS.values()}
    helpers = {name for name in found if not hasattr(importlib.import_module(f"{command.__package__}.{name}"), "main")}
    assert found - helpers == commands


def test_a_slip_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["bulid"]) == 2
    assert "no command 'bulid': did you mean build?" in capsys.readouterr().err
    assert command.main([]) == 2
    assert command.main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_a_module_that_is_not_installed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "kserve_wrapper.commands.check", raising=False)
    for name in [name for name in sys.modules if name.startswith("kserve_wrapper.modelstore")]:
        monkeypatch.delitem(sys.modules, name)
    assert command.main(["check", "x.mar"]) == 2
    assert "the module yaml is not installed" in capsys.readouterr().err


def test_the_servers_command_does_not_wait_for_others() -> None:
    code = (
        "import sys; from kserve_wrapper.commands.main import main\n"
        "try: main(['wrapper', '--version'])\n"
        "finally: print(sorted(name for name in ('yaml', 'torch', 'PIL') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:2] == [__version__, "[]"], done.stderr
