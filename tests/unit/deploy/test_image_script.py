"""``python -m scripts.image``: what it refuses, and the commands that it would give an engine. The build and the try
themselves need an engine; without one they are not tested, and the skip says so."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from scripts import image
from tests.unit.deploy.image_steps import DOCKERFILE
from tests.unit.deploy.manifests import RUNTIMES, containers, of_kind


@pytest.mark.parametrize(
    "name", ["ts-kserve-wrapper", "registry.example.com:5000/ts", "ts:", "ts:a b", "TS:1", "registry.example.com/ts@x"]
)
def test_a_name_without_a_tag_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        image.main([name])
    assert ended.value.code == 2
    assert name in capsys.readouterr().err


def test_the_small_variant_needs_to_know_where_its_torch_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        image.main(["ts:1", "--variant", "cpu"])
    assert ended.value.code == 2
    assert "--torch-index-url" in capsys.readouterr().err


def test_without_an_engine_it_says_what_else_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert image.main(["ts:1", "--engine", "no-such-engine"]) == 3
    assert "make image-steps" in capsys.readouterr().err


def test_the_commands_fit_the_dockerfile_and_the_runtime(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert image.main(["r.example.com:5000/ts:1", "--variant", "cpu", "--torch-index-url", "x", "--print"]) == 0
    build, run = (shlex.split(line) for line in capsys.readouterr().out.splitlines())
    given = dict(pair.split("=", 1) for flag, pair in zip(build, build[1:]) if flag == "--build-arg")
    declared = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert given.keys() <= declared
    assert (given["SOURCE_DATE_EPOCH"], given["CREATED"]) == ("1700000000", "2023-11-14T22:13:20Z")
    assert Path(build[build.index("--file") + 1]).is_file()
    (security,) = {str(c["securityContext"]) for m in of_kind(*RUNTIMES) for c in containers(m)}
    assert "'readOnlyRootFilesystem': True" in security
    assert "--read-only" in run
    assert run[run.index("--cap-drop") + 1] == "ALL"


def test_the_image_is_built_and_holds_what_it_promises() -> None:
    if image.engine(None) is None:
        pytest.skip("no container engine answers here: the image itself is not built, its steps are (test_image.py)")
    if os.environ.get("IMAGE") != "full":
        pytest.skip("5 GB and some minutes: IMAGE=full runs it")
    assert image.main(["ts-kserve-wrapper:test"]) == 0
