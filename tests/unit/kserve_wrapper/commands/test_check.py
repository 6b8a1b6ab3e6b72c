"""``ts-kserve check``: archives that cannot be served are told, with the cause in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import pytest

from kserve_wrapper.commands import check as command
from kserve_wrapper.modelstore import Finding, check_mar, trial, write
from kserve_wrapper.modelstore.findings import Severity
from kserve_wrapper.torchserve import archive
from tests.unit.deploy.archives import make_mar

#: Without torch, so that a trial takes a second.
GOOD = """
class Handler:
    def initialize(self, context):
        self.name = context.model_name

    def handle(self, data, context):
        return [{"predictions": [len(row["body"]["instances"])]} for row in data]
"""


def mar(folder: Path, handler: str, members: Optional[Mapping[str, str]] = None, **model: Any) -> Path:
    files = {"tiny_handler.py": handler, **(members or {})}
    return make_mar(folder, "tiny", members=files, handler="tiny_handler.py", **model)


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [str(one) for one in findings]
    return findings[0]


@pytest.fixture
def needs_torchserve() -> None:
    if trial.missing():
        pytest.skip(f"{trial.missing()} is not installed")


@pytest.mark.usefixtures("needs_torchserve")
def test_a_row_is_asked(tmp_path: Path) -> None:
    found = archive.read(mar(tmp_path, GOOD))
    ran = trial.run(found, [{"instances": [1, 2, 3]}, {"instances": []}])
    assert (ran.ended, ran.loaded) == (0, True), ran
    assert ran.answers == [(200, '{"predictions": [3]}'), (200, '{"predictions": [0]}')]


@pytest.mark.usefixtures("needs_torchserve")
@pytest.mark.parametrize(
    ("handler", "problem", "remedy"),
    [
        ("import no_such_module_here", "does not load: ModuleNotFoundError: No module named 'no_such", "requirements"),
        (GOOD.replace('row["body"]', 'row["other"]'), "fails on the first row: KeyError: 'other'", "Mend"),
    ],
    ids=["import", "row"],
)
def test_what_does_not_load_is_told_in_one_line(tmp_path: Path, handler: str, problem: str, remedy: str) -> None:
    finding = only(check_mar(mar(tmp_path, handler), load=True, request={"instances": [1]}))
    assert finding.severity is Severity.ERROR
    assert problem in finding.problem
    assert remedy in finding.remedy
    assert "\n" not in str(finding)


@pytest.mark.usefixtures("needs_torchserve")
def test_a_handler_that_nobody_asked_is_told(tmp_path: Path) -> None:
    """It loads, and may fail at every row."""
    finding = only(check_mar(mar(tmp_path, GOOD.replace('row["body"]', 'row["other"]')), load=True))
    assert finding.severity is Severity.WARNING
    assert "was asked no row" in finding.problem
    assert "example.json" in finding.remedy
    assert check_mar(mar(tmp_path, GOOD), load=True, request={"instances": [1]}) == []


@pytest.mark.usefixtures("needs_torchserve")
def test_a_directorys_archives_are_loaded_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = tmp_path / "models"
    write(models, [mar(tmp_path, "import os\nos._exit(7)")])
    assert command.main([str(models)]) == 0
    assert command.main([str(models), "--load"]) == 1
    said = capsys.readouterr().err
    assert "tiny.mar: error: does not load: its process ended with status 7" in said
    assert "build the archive again" in said


@pytest.mark.usefixtures("needs_torchserve")
@pytest.mark.parametrize(
    ("number", "problem", "remedy"),
    [(9, "was killed (SIGKILL), mostly for lack of memory", "more memory"), (4, "SIGILL, code for another", "--instr")],
)
def test_a_signal_is_named(tmp_path: Path, number: int, problem: str, remedy: str) -> None:
    finding = only(check_mar(mar(tmp_path, f"import os\nos.kill(os.getpid(), {number})"), load=True))
    assert problem in finding.problem
    assert remedy in finding.remedy


def test_what_the_archives_requirements_bring_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["Traceback (most recent call last):", "  line", "ModuleNotFoundError: No module named 'no_such'"]
    monkeypatch.setattr(trial, "run", lambda *_: trial.Trial(1, said))
    monkeypatch.setattr(trial, "missing", lambda: None)
    found = mar(tmp_path, GOOD, {"requirements.txt": "no_such"}, requirementsFile="requirements.txt")
    finding = only(check_mar(found, load=True))
    assert finding.severity is Severity.WARNING
    assert "requirements.txt may bring" in finding.problem


@pytest.mark.parametrize(
    ("members", "severity", "problem"),
    [
        ({"helpers/__init__.py": "", "helpers.py": GOOD}, Severity.ERROR, "imports the package, and never this file"),
        ({"json.py": "x = 1"}, Severity.WARNING, "hides the installed module json"),
        ({"yaml.py": GOOD}, Severity.WARNING, "hides the installed module yaml"),
        ({"mnist_handler.py": GOOD}, Severity.WARNING, "hides the installed module mnist_handler"),
        ({"mnist_handler/__init__.py": "", "mnist_handler.py": "import sys"}, None, ""),
        ({"mnist_handler.py": "import sys"}, None, ""),
        ({"my_own_module.py": GOOD, "inner/json.py": ""}, None, ""),
    ],
)
def test_hidden_modules(tmp_path: Path, members: Dict[str, str], severity: Optional[Severity], problem: str) -> None:
    findings = check_mar(mar(tmp_path, GOOD, members))
    if severity is None:
        assert findings == []
        return
    finding = only(findings)
    assert (finding.severity, finding.remedy) == (severity, "Name the file otherwise")
    assert problem in finding.problem


def test_whatever_is_named_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models, good = tmp_path / "models", mar(tmp_path, GOOD)
    write(models, [good])
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "mar.json").write_text(json.dumps({"version": "1.0", "handler": "absent.py"}))
    assert command.main([str(models), str(good)]) == 0
    assert capsys.readouterr().out.count("no errors found; nothing was loaded") == 2
    assert command.main([str(folder), str(tmp_path / "nothing")]) == 1
    said = capsys.readouterr().err
    assert "absent.py is missing" in said
    assert "there is no such file" in said
    configuration = models / "config" / "config.properties"
    assert command.main([str(configuration)]) == 1
    assert "model_store (/mnt/models/model-store) is no directory" in capsys.readouterr().err
    text = configuration.read_text(encoding="latin-1").replace("/mnt/models", str(models))
    configuration.write_text(text, encoding="latin-1")
    assert command.main([str(configuration)]) == 0


def test_a_request_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = tmp_path / "request.json"
    request.write_text('{"rows": []}')
    assert command.main([str(mar(tmp_path, GOOD)), "--load", "--request", str(request)]) == 2
    assert 'it must hold an object with "instances" (V1) or "inputs" (V2)' in capsys.readouterr().err


def test_a_handler_of_one_protocol_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = make_mar(tmp_path, "plain", handler="image_classifier")
    based = make_mar(tmp_path, "based", members={"own.py": "from mnist_handler import RowHandler"}, handler="own.py")
    assert command.main([str(plain), str(based)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"{plain}: warning: plain answers one protocol, V1 or V2, as its service says: ")
    write(tmp_path / "models", [plain, based])
    assert command.main([str(tmp_path / "models")]) == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert "plain.mar: warning: plain answers V1 alone: its handler is not on this project's base" in told
    assert command.main([str(tmp_path / "models"), "--protocol", "v2"]) == 0
    assert "plain answers V2 and gRPC alone" in capsys.readouterr().err
