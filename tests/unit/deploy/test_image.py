"""The image, as far as it can be tested without a container engine: its steps run, in order, in an empty place.

Light: torch, TorchServe and Java (5 GB) are left out by the scripts' own flag, so these tests show that the scripts
work, that the pins resolve for the wrapper and that it starts from the environment they make. That a model is served
from the whole of it is shown by ``tests/serving/test_whole_image.py``.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Iterator

import pytest
from packaging.requirements import Requirement

from kserve_wrapper._version import __version__
from tests.unit.deploy.image_steps import DOCKERFILE, RUNTIME, build, copied, run
from tests.unit.deploy.manifests import ROOT

STEPS = sorted((RUNTIME / "steps").glob("*.sh"))


def stages() -> list[str]:
    return re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]


def test_every_run_is_a_step_and_every_step_runs_once_in_order() -> None:
    ran = re.findall(r'^RUN \["/bin/sh", "/steps/([^"]+)"\]$', DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.count("\nRUN ") == len(ran)
    assert ran == [step.name for step in STEPS]


def test_the_last_stage_holds_the_environment_and_no_more() -> None:
    build, last = stages()
    assert "COPY --from=build /opt/venv /opt/venv" in last
    assert "pip install" not in last
    assert re.search(r"^USER [1-9][0-9]*:[1-9][0-9]*$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert last.index("70-verify.sh") > last.index("COPY --from=build")
    assert "USER" not in build


def test_the_labels_say_what_it_is_and_from_what() -> None:
    labels = dict(re.findall(r'^\s*(?:LABEL )?(\S+)="([^"]*)"', stages()[1], re.MULTILINE))
    assert labels["org.opencontainers.image.version"] == __version__
    for name in ("title", "description", "revision", "created", "licenses"):
        assert labels[f"org.opencontainers.image.{name}"], name
    assert labels["io.ts-kserve-wrapper.sbom"] == "/opt/venv/sbom.cdx.json"
    for variable in re.findall(r"\$\{(\w+)\}", " ".join(labels.values())):
        assert re.search(rf"^ARG {variable}=", stages()[1], re.MULTILINE), variable


def test_what_is_copied_is_there_and_not_ignored() -> None:
    rules = (RUNTIME / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [rule[1:].rstrip("/") for rule in rules if rule.startswith("!")]
    for source in copied():
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source.rstrip("/"), rule) for rule in kept), source


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_is_plain_shell_and_tells_what_it_takes(step: Path) -> None:
    text = step.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/sh\n# ")
    assert "\nset -eu\n" in text
    for variable in set(re.findall(r"\$\{([A-Z_]+):-", text)):
        assert re.search(rf"^#   {variable}[ =]", text, re.MULTILINE), variable
    assert subprocess.run(["/bin/sh", "-n", str(step)], check=False).returncode == 0


def contents(place: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time and digest of everything below a directory, by its path."""
    found = {}
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        data = str(path.readlink()).encode() if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
        name = str(path.relative_to(place))
        found[name] = (status.st_mode, int(status.st_mtime), hashlib.sha256(data).hexdigest())
    return found


#: What the first build made, before any test touched it.
_FIRST: dict[str, dict[str, tuple[int, int, str]]] = {}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    made = build(tmp_path_factory.mktemp("image"), light=True)
    _FIRST["venv"] = contents(made[0] / "venv")
    return made


def test_the_environment_starts_the_wrapper(built: tuple[Path, dict[str, str]]) -> None:
    ran = run("70-verify.sh", built[1])
    assert ran.returncode == 0, ran.stderr
    assert "LIGHT=1" in ran.stdout


def test_the_verification_finds_a_compiler(built: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "gcc").symlink_to("/bin/true")
    ran = run("70-verify.sh", {**built[1], "PATH": f"{built[1]['PATH']}:{tmp_path}"})
    assert ran.returncode == 1
    assert "gcc" in ran.stderr


def test_the_environment_has_the_pinned_versions_and_no_torch(built: tuple[Path, dict[str, str]]) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if not line.startswith("#")]
    here = [pin for pin in wanted if pin.marker is None or pin.marker.evaluate()]
    pins = {pin.name.lower().replace("-", "_"): str(pin.specifier)[len("==") :] for pin in here}
    code = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version)"
    command = [str(built[0] / "venv" / "bin" / "python"), "-c", code]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {name.lower().replace("-", "_"): version for name, version in (line.split() for line in listing)}
    ours = found.pop("ts_kserve_wrapper")
    assert ours
    assert {name: pins.get(name) for name in found} == found
    assert "torch" not in found
    assert "pip" not in found


def test_the_user_step_makes_user_and_directory(tmp_path: Path) -> None:
    environment = {"DESTDIR": str(tmp_path), "PATH": os.environ["PATH"]}
    for _ in range(2):
        ran = run("60-user.sh", environment)
        assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "etc" / "passwd").read_text().count("model-server:x:1000:1000:") == 1
    assert (tmp_path / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert {int((tmp_path / name).stat().st_mtime) for name in ("etc", "etc/passwd", "etc/group", "tmp")} == {0}


def test_the_same_sources_make_the_same_layer(built: tuple[Path, dict[str, str]]) -> None:
    """Twice in the same place, one after the other: contents, modes and times."""
    first = _FIRST["venv"]
    shutil.rmtree(built[0])
    built[0].mkdir()
    build(built[0], light=True)
    second = contents(built[0] / "venv")
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} == set()
    assert {seconds for _, seconds, _ in first.values()} == {0}


def test_the_bill_of_materials_names_what_is_installed(built: tuple[Path, dict[str, str]]) -> None:
    bill = json.loads((built[0] / "venv" / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    named = {component["name"]: component["version"] for component in bill["components"]}
    assert named["ts-kserve-wrapper"] == __version__
    assert {"grpcio", "httptools", "orjson"} <= named.keys()
    assert not {"cyclonedx-bom", "pip"} & named.keys()
    assert not (built[0] / "sbom-tool").exists()


def test_a_bill_that_lacks_a_package_fails_the_build(built: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    bill = built[0] / "venv" / "sbom.cdx.json"
    kept = bill.read_bytes()
    whole = json.loads(kept)
    whole["components"] = [item for item in whole["components"] if item["name"] != "orjson"]
    try:
        bill.write_text(json.dumps(whole), encoding="utf-8")
        ran = run("70-verify.sh", built[1])
    finally:
        bill.write_bytes(kept)
    assert ran.returncode == 1
    assert "orjson" in ran.stderr


@pytest.mark.parametrize(
    ("variables", "words"), [({"VARIANT": "gpu"}, "cpu or cuda"), ({"VARIANT": "cpu"}, "TORCH_INDEX_URL")]
)
def test_a_variant_that_cannot_be_is_refused(variables: dict[str, str], words: str) -> None:
    if variables["VARIANT"] == "cpu" and platform.machine() != "x86_64":
        pytest.skip("on this architecture pip's usual torch is for CPU")
    ran = run("20-torch.sh", {"PATH": os.environ["PATH"], **variables})
    assert ran.returncode == 2
    assert words in ran.stderr


def load_healthcheck() -> Any:
    return runpy.run_path(str(RUNTIME / "healthcheck.py"))


@contextlib.contextmanager
def wrapper(status: int) -> Iterator[tuple[int, list[str]]]:
    """A stand-in that answers one request; its port, and the paths that it was asked for."""
    asked: list[str] = []

    class Wrapper(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Wrapper) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server.server_address[1], asked
        thread.join()


def check(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUNTIME / "healthcheck.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_follows_readiness(status: int, code: int) -> None:
    with wrapper(status) as (port, asked):
        ran = check({"TS_KSERVE_HTTP_PORT": str(port)})
    assert ran.returncode == code
    assert asked == ["/v2/health/ready"]
    assert ("503" in ran.stderr) == (status == 503)


def test_the_health_check_fails_where_nothing_listens() -> None:
    ran = check({"TS_KSERVE_HTTP_PORT": "1"})
    assert ran.returncode == 1
    assert "port 1" in ran.stderr


def test_the_health_check_says_what_it_cannot_do() -> None:
    assert "--http_port 0" in check({"TS_KSERVE_HTTP_PORT": "0"}).stderr
    assert check({"TS_KSERVE_HTTP_PORT": "many"}).returncode == 2


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (
            ["python", "-m", "kserve_wrapper.supervisor.main", "torchserve", "--start", "--", "--http_port", "9"],
            ["--http_port", "9"],
        ),
        (["python", "-m", "kserve_wrapper.supervisor.main", "torchserve", "--start"], []),
        (["tini", "--", "python", "-m", "kserve_wrapper.supervisor.main", "--", "--http_port=9"], ["--http_port=9"]),
        (["python", "-m", "kserve_wrapper", "--http_port", "9"], ["--http_port", "9"]),
        (["python", "/opt/venv/bin/ts-kserve", "supervise", "--start", "--", "--http_port", "9"], ["--http_port", "9"]),
        (["python", "-m", "kserve_wrapper.supervisor", "torchserve", "--", "--http_port", "9"], ["--http_port", "9"]),
        (["/opt/venv/bin/ts-kserve", "wrapper", "--http_port", "9"], ["--http_port", "9"]),
        (["sh", "-c", "sleep 1", "--", "x"], []),
        ([], []),
    ],
)
def test_the_health_check_reads_the_containers_own_command_line(words: list[str], flags: list[str]) -> None:
    line = b"".join(word.encode() + b"\0" for word in words)
    healthcheck = load_healthcheck()
    assert healthcheck["wrapper_flags"](line) == flags
    port = healthcheck["settings"](line, {"TS_KSERVE_HTTP_PORT": "7"}).http_port
    assert port == (9 if flags else 7), "a flag beats its variable"
