"""``ts-kserve serve``: what it asks TorchServe for, what it refuses, and the lines it gives to try."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from kserve_wrapper import modelstore
from kserve_wrapper.commands import build, curl_lines, running, serve
from kserve_wrapper.commands.running import Ports, Running
from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.torchserve import archive
from kserve_wrapper.trying.client import Server
from tests.unit.deploy.archives import make_mar
from tests.unit.kserve_wrapper.fakes import Front
from tests.unit.kserve_wrapper.live import Live
from tests.unit.kserve_wrapper.trying.test_asking import told

__all__ = ["told"]

METADATA: Dict[str, Any] = {
    "name": "churn",
    "inputs": [
        {"name": "usage", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "plan", "datatype": "INT64", "shape": [-1]},
        {"name": "note", "datatype": "BYTES", "shape": [-1]},
    ],
}


def test_every_model_is_in_the_snapshot_as_its_archive_says(tmp_path: Path) -> None:
    models = [make_mar(tmp_path, "mnist"), make_mar(tmp_path, "digits", version="2.1")]
    settings = serve.torchserve_settings(serve.parse(["x", "--workers", "2"]), models)
    found = json.loads(settings["model_snapshot"])
    assert found["modelCount"] == 2
    assert found["models"]["mnist"]["1.0"]["maxWorkers"] == 5
    digits = found["models"]["digits"]["2.1"]
    assert (digits["marName"], digits["minWorkers"], digits["defaultVersion"]) == ("digits.mar", 2, True)
    assert settings["disable_token_authorization"] == "false"
    addresses = [value for key, value in settings.items() if key.endswith("_address")]
    assert len(set(addresses)) == 3
    assert all(value.startswith("http://127.0.0.1:") for value in addresses)


def test_a_configuration_of_ones_own_keeps_its_addresses(tmp_path: Path) -> None:
    options = serve.parse(["x", "--ts_config", "mine.properties"])
    assert list(serve.torchserve_settings(options, [make_mar(tmp_path)])) == ["model_snapshot"]
    options = serve.parse(["x", "--set", "job_queue_size=3", "--set", "vmargs=-Xmx1g -Da=b"])
    settings = serve.torchserve_settings(options, [tmp_path / "mnist.mar"])
    assert (settings["job_queue_size"], settings["vmargs"]) == ("3", "-Xmx1g -Da=b")
    with pytest.raises(SystemExit):
        serve.parse(["x", "--set", "job_queue_size"])


def test_the_wrappers_flags_are_handed_on(capsys: pytest.CaptureFixture[str]) -> None:
    options = serve.parse(["x.mar", "--free_ports", "--", "--enable_docs_url"])
    assert options.wrapper == ["--enable_docs_url"]
    ports = Ports.choose(8080, 8081, options.free_ports)
    assert len({ports.http, ports.grpc, 8080, 8081}) == 4
    with pytest.raises(SystemExit):
        serve.parse(["x.mar", "--workers", "0"])
    assert "must be 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "said"),
    [("nothing", "no such file or directory"), ("empty", "ts-kserve new makes a folder"), ("broken.mar", "zip file")],
)
def test_what_cannot_be_served_is_told(
    tmp_path: Path, path: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mar").write_text("no archive")
    assert serve.main([str(tmp_path / path), "--free_ports"]) == 2
    assert said in capsys.readouterr().err


def test_the_supervisors_own_word_is_shown_where_nothing_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "said.log"
    flags = ["--free_ports", "--log", str(log), "--set", "job_queue_size=many"]
    assert serve.main([str(make_mar(tmp_path)), *flags]) == 2
    said = capsys.readouterr().err
    assert "supervisor: the command line: job_queue_size: 'many' is not a whole number" in said
    assert f"ended with status 2; {log}" in said


def test_load_errors_are_read_from_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    started = Running(tmp_path / "x", {}, [], log)
    entries = [
        '{"level": "ERROR", "message": "it does not load"}',
        '{"level": "INFO", "message": "x"}',
        "{not JSON",
        "x",
    ]
    log.write_text("\n".join([*entries, "supervisor: said"]))
    assert started.errors() == ["it does not load"]
    assert started.said() == ["supervisor: said"]


def test_a_long_start_says_what_it_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "_WORD_EVERY", 0.0)
    # The server is this process's and not the child's.
    monkeypatch.setattr(running.checks, "descends", lambda process, ancestor: process == os.getpid())
    front = Front()
    front.models.is_ready = False
    started = Running(tmp_path / "x", {}, [], tmp_path / "log")
    (tmp_path / "log").touch()
    said = "not ready yet: model loading: its worker is loading"
    err = ""

    def ready_after_a_word(pause: float) -> None:
        nonlocal err
        err += capsys.readouterr().err
        front.models.is_ready = said in err

    monkeypatch.setattr(running.time, "sleep", ready_after_a_word)
    started._process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with Live(front) as live, started._process:
        base = f"http://127.0.0.1:{live.http_port}"
        assert started.wait_ready(base)
        assert running.why_not_ready(base) is None
        started._process.communicate(b"\n")
    assert said in err
    assert running.why_not_ready(base) == "the server does not answer yet"


def test_another_servers_answer_is_not_taken_for_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "_WORD_EVERY", 0.0)
    started = Running(tmp_path / "x", {}, [], tmp_path / "log")
    (tmp_path / "log").touch()
    started._process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with Live(Front()) as live, started._process:
        base = f"http://127.0.0.1:{live.http_port}"
        assert running.why_not_ready(base) is None
        monkeypatch.setattr(running.time, "sleep", lambda pause: started._process.communicate(b"\n"))
        assert not started.wait_ready(base), "its own process ended"
    said = capsys.readouterr().err
    assert said.startswith(f"not ready yet: another server answers at {base}: port {live.http_port} is taken by ")
    assert f"(process id {os.getpid()})" in said


def test_models_that_are_ready_beside_one_that_does_not_load_are_told(
    told: Tuple[Server, Dict[str, Tuple[int, bytes]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server, paths = told
    paths["/v2/health/ready"] = (503, b'{"reason": "model bad: does not load"}')
    paths["/v2/models/good%20one/ready"] = (200, b"{}")
    paths["/v2/models/bad/ready"] = (503, b"{}")
    monkeypatch.setattr(running.checks, "descends", lambda process, ancestor: process == os.getpid())
    (tmp_path / "log").write_text('{"level": "ERROR", "message": "model bad: does not load"}\n')
    started = Running(tmp_path / "x", {}, [], tmp_path / "log")
    started._process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    looks = iter([1, 2])

    def ends_after_two_looks(pause: float) -> None:
        if next(looks) == 2:
            started._process.communicate(b"\n")

    monkeypatch.setattr(running.time, "sleep", ends_after_two_looks)
    with started._process:
        assert not started.wait_ready(server.base, ["good one", "bad"])
    printed = capsys.readouterr()
    assert printed.err == "not ready yet: model bad: does not load\n"
    assert printed.out == f"Ready so far: good one at {server.base}\n"


def test_lines_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "metadata", lambda *_: METADATA)
    v1, v2 = curl_lines.lines("http://h:1", "churn", None, tmp_path)
    assert v1 == (
        "curl http://h:1/v1/models/churn:predict -d "
        '\'{"instances": [{"usage": [1.0, 1.0], "plan": 1, "note": "a text to try the model with"}]}\''
    )
    assert v2 == f"curl http://h:1/v2/models/churn/infer -d @{tmp_path / 'churn-v2.json'}"
    request = json.loads((tmp_path / "churn-v2.json").read_text())
    assert [one["shape"] for one in request["inputs"]] == [[1, 2], [1], [1]]
    example = {"instances": [{"usage": [3, 4], "plan": 5, "note": "x"}]}
    told = {**METADATA, "properties": {"optional_outputs": [{"name": "explain", "datatype": "FP32", "shape": [-1, 2]}]}}
    monkeypatch.setattr(Server, "metadata", lambda *_: told)
    first, _, third = curl_lines.lines("http://h:1", "churn", example, tmp_path)
    assert json.dumps(example) in first
    assert third == first.replace(":predict", ":explain")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--http_port", "8090", "--grpc_port", "8090"],
            "--http_port and --grpc_port must differ. ts-kserve wrapper --help",
        ),
        (["--http_port", "99999"], "--http_port must be 65535 or less"),
        (["--free_ports", "--", "--no_such_flag"], "--no_such_flag"),
    ],
)
def test_wrong_flags_are_told_before_anything_is_built(
    tmp_path: Path, flags: List[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main([str(tmp_path / "nothing"), *flags])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert said in printed.err


def test_a_port_that_is_taken_is_told_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert serve.main([str(tmp_path / "nothing"), "--http_port", str(port), "--grpc_port", str(free_port())]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"serve: port {port} is taken by ")
    assert "(--http_port), or take any (--free_ports)" in said
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert serve.main([str(tmp_path / "nothing"), "--free_ports"]) == 2
    assert "TorchServe is not installed" in capsys.readouterr().err


def test_a_folder_of_archives_is_told_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_mar(tmp_path)
    assert serve.main([str(tmp_path), "--free_ports"]) == 2
    assert f"name its archives: {made}" in capsys.readouterr().err


def folder_of(place: Path, version: str) -> Path:
    """A model's folder that packs without loading."""
    place.mkdir(parents=True)
    (place / "mar.json").write_text(json.dumps({"version": version, "handler": "own_handler.py"}))
    (place / "own_handler.py").write_text("def handle(data, context):\n    return data\n")
    return place


def test_two_versions_of_one_model_by_two_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("model_archiver", reason="torch-model-archiver is not installed")
    first, second = folder_of(tmp_path / "own", "1.0"), folder_of(tmp_path / "v2" / "own", "2.0")
    models, _ = serve.gather([first, second], tmp_path / "store", check=False)
    assert models == [tmp_path / "store" / "own.mar", tmp_path / "store" / "2.0" / "own.mar"]
    assert [archive.read(path).version for path in models] == ["1.0", "2.0"]
    modelstore.write(tmp_path / "models", models)
    snapshot = json.loads(serve.torchserve_settings(serve.parse(["x"]), models)["model_snapshot"])
    for version, name in ("1.0", "own.mar"), ("2.0", "own-2.0.mar"):
        assert snapshot["models"]["own"][version]["marName"] == name
        assert archive.read(tmp_path / "models" / "model-store" / name).version == version
    said = capsys.readouterr().err.splitlines()
    assert said == [f"serve: packing {first}", f"serve: packing {second}"]
    again = folder_of(tmp_path / "again" / "own", "2.0")
    assert serve.gather([first, second, again], tmp_path / "other", check=False)[0] is None
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"serve: {second} and {again} are both own 2.0: write another version into one's mar.json"


def test_a_fault_of_a_folder_is_told_by_the_command_that_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "own", "1.0")
    (folder / "own_handler.py").unlink()
    assert serve.main([str(folder), "--free_ports", "--store", str(tmp_path / "store")]) == 2
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "own_handler.py" in line]
    assert told.startswith("serve: ")
    assert build.main([str(folder), "--out", str(tmp_path / "store")]) == 1
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "own_handler.py" in line]
    assert told.startswith("build: ")


def test_every_model_has_a_line_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "metadata", lambda *_: METADATA)
    mars = [make_mar(tmp_path), make_mar(tmp_path / "b", version="2.0"), make_mar(tmp_path, "churn")]
    models = list(map(archive.read, mars))
    told = serve._ready("http://h:1", Ports(1, 2), models, {}, tmp_path)
    assert told[0] == (
        "Ready: mnist (versions 1.0, 2.0; the last unless a URL names one), churn at http://h:1, gRPC at port 2"
    )
    urls = [line.split()[1] for line in told if line.startswith("  curl ")]
    assert urls == ["http://h:1/v1/models/mnist:predict", "http://h:1/v1/models/churn:predict"]
    one = serve._ready("http://h:1", Ports(1, 2), models[2:], {}, tmp_path)
    assert one[0] == "Ready: churn at http://h:1, gRPC at port 2"
    assert [line.split()[1].rpartition("/")[2] for line in one if line.startswith("  curl ")] == [
        "churn:predict",
        "infer",
    ]


def test_a_model_of_one_protocol_is_told(tmp_path: Path) -> None:
    models = [
        archive.read(make_mar(tmp_path, "mob", handler="image_classifier")),
        archive.read(make_mar(tmp_path, members={"mnist_handler/__init__.py": ""})),
    ]
    (told,) = serve.one_protocol(models, "kserve")
    assert told.startswith("Note: mob answers V1 alone: its handler is not on this project's base")
    assert told.endswith("V2: --set service_envelope=kservev2 here, ts-kserve manifests --protocol v2 for a cluster.")
    assert "V1: --set service_envelope=kserve here" in serve.one_protocol(models, "kservev2")[0]
    assert serve.one_protocol(models, None) == []
