"""The writer: what it writes is found right by the checker and read back as it was meant."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_wrapper.modelstore import check, write
from kserve_wrapper.modelstore.__main__ import main
from kserve_wrapper.modelstore.content import ENVELOPE_OF
from kserve_wrapper.modelstore.write import WriteError
from kserve_wrapper.torchserve import config
from tests.unit.deploy.archives import make_mar

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")
VERSIONS = st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3}){0,2}\Z")


@given(
    models=st.dictionaries(NAMES, st.lists(VERSIONS, min_size=1, max_size=3, unique=True), min_size=1, max_size=4),
    protocol=st.sampled_from(sorted(ENVELOPE_OF)),
    workers=st.integers(1, 64),
    file=st.sampled_from(["", "m.mar"]),
)
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_what_torchserve_reads(
    models: dict[str, list[str]], protocol: str, workers: int, file: str
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        built, out = Path(temporary, "built"), Path(temporary, "out")
        pairs = [(name, version) for name, versions in models.items() for version in versions]
        mars = [make_mar(built / str(i), name, version, file) for i, (name, version) in enumerate(pairs)]
        write(out, mars, protocol, workers)
        assert check(out, protocol) == []
        read = config.load(out / "config" / "config.properties", {})
    assert {name: list(versions) for name, versions in read.models.items()} == models
    for name, versions in read.models.items():
        assert [v for v, model in versions.items() if model.default_version] == [models[name][-1]]
        assert all(model.min_workers == workers <= model.max_workers for model in versions.values())
    assert read.service_envelope == ENVELOPE_OF[protocol]


@given(name=st.text(min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_name_survives_the_file_format(name: str) -> None:
    """Names that do not fit a URL are refused by the checker, not mangled by the writer."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary, "out")
        write(out, [make_mar(Path(temporary), name, file="m.mar")])
        assert list(config.load(out / "config" / "config.properties", {}).models) == [name]


def test_archives_that_lie_there_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, [make_mar(tmp_path, "one")])
    write(out, [make_mar(tmp_path, "two"), out / "model-store" / "one.mar"])
    assert sorted(path.name for path in (out / "model-store").iterdir()) == ["one.mar", "two.mar"]
    assert sorted(config.load(out / "config" / "config.properties", {}).models) == ["one", "two"]


def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    good = make_mar(tmp_path / "a")
    with pytest.raises(WriteError, match="no archive"):
        write(tmp_path / "out", [])
    with pytest.raises(WriteError, match=r"both mnist 1\.0"):
        write(tmp_path / "out", [good, make_mar(tmp_path / "b", file="other.mar")])
    with pytest.raises(WriteError, match="no readable zip"):
        write(tmp_path / "out", [tmp_path / "absent.mar"])
    assert not (tmp_path / "out").exists()


def test_archives_of_one_file_name_get_names_of_their_own(tmp_path: Path) -> None:
    one, two, other = (
        make_mar(tmp_path / "a"),
        make_mar(tmp_path / "b", version="2.0"),
        make_mar(tmp_path / "c", "digits", "2.0", file="mnist.mar"),
    )
    write(tmp_path / "out", [one, two, other])
    assert files_of(tmp_path / "out") == {
        ("mnist", "1.0"): "mnist.mar",
        ("mnist", "2.0"): "mnist-2.0.mar",
        ("digits", "2.0"): "mnist-2.0-2.mar",
    }
    assert check(tmp_path / "out", "v1") == []
    store = tmp_path / "out" / "model-store"
    former = (store / "mnist.mar").read_bytes()
    write(tmp_path / "out", [make_mar(tmp_path / "d", version="3/1"), store / "mnist.mar"])
    assert files_of(tmp_path / "out") == {("mnist", "3/1"): "mnist-3-1.mar", ("mnist", "1.0"): "mnist.mar"}
    assert (store / "mnist.mar").read_bytes() == former, "what lies there is not overwritten"


def files_of(directory: Path) -> dict[tuple[str, str], str]:
    """The archive's file by model and version, as the configuration has it."""
    models = config.load(directory / "config" / "config.properties", {}).models
    return {(name, version): fields.mar_name for name, found in models.items() for version, fields in found.items()}


def test_the_command_prints_what_to_upload(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, mar = tmp_path / "out", make_mar(tmp_path)
    assert main(["write", str(out), "--mar", str(mar), "--protocol", "grpc-v2"]) == 0
    printed = capsys.readouterr().out
    assert "config/config.properties" in printed
    assert "model-store/mnist.mar" in printed
    assert "protocolVersion: grpc-v2" in printed


def test_the_command_fails_with_a_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["write", str(tmp_path / "out"), "--mar", str(tmp_path / "absent.mar")]) == 2
    assert "absent.mar" in capsys.readouterr().err


def test_an_archive_of_torch_model_archiver(tmp_path: Path) -> None:
    """The real tool's archive, not only this test's imitation of one."""
    pytest.importorskip("model_archiver", reason="torch-model-archiver is not installed")
    handler = tmp_path / "own_handler.py"
    handler.write_text("def handle(data, context):\n    return data\n")
    (tmp_path / "made").mkdir()
    command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "echo", "--version", "3.1"]
    command += ["--handler", str(handler), "--export-path", str(tmp_path / "made")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    write(tmp_path / "out", [tmp_path / "made" / "echo.mar"])
    assert check(tmp_path / "out") == []
    read = config.load(tmp_path / "out" / "config" / "config.properties", {})
    assert list(read.models["echo"]) == ["3.1"]
