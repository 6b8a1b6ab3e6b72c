"""`python -m scripts.serve`: its options, and the models that it asks TorchServe for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import serve
from tests.unit.deploy.archives import make_mar


def test_help_is_shown_and_nothing_unknown_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main(["--help"])
    assert ended.value.code == 0
    assert "--model NAME" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        serve.main(["--modl", "mnist"])
    assert ended.value.code == 2
    assert "--modl" in capsys.readouterr().err


def test_a_model_that_cannot_be_built_is_named() -> None:
    with pytest.raises(SystemExit, match="the archive of nobody could not be built"):
        serve.main(["--model", "nobody"])


def test_every_model_is_in_the_snapshot_as_its_archive_says(tmp_path: Path) -> None:
    make_mar(tmp_path, "mnist")
    make_mar(tmp_path, "digits", version="2.1")
    found = json.loads(serve.snapshot(tmp_path, ["mnist", "digits"]))
    assert found["modelCount"] == 2
    assert found["models"]["mnist"]["1.0"]["maxWorkers"] == 5
    digits = found["models"]["digits"]["2.1"]
    assert (digits["marName"], digits["defaultVersion"]) == ("digits.mar", True)
