"""The image, as far as it can be tested without a container engine: its steps run, in order, in an empty place.

Light: torch, TorchServe and Java (5 GB) are left out by the scripts' own flag, so these tests show that the scripts
work, that the pins resolve for the wrapper and that it starts from the environment they make. That a model is served
from the whole of it is shown by ``tests/serving/test_whole_image.py``.
"""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

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
    assert last.index("60-verify.sh") > last.index("COPY --from=build")
    assert "USER" not in build


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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    return build(tmp_path_factory.mktemp("image"), light=True)


def test_the_environment_starts_the_wrapper(built: tuple[Path, dict[str, str]]) -> None:
    ran = run("60-verify.sh", built[1])
    assert ran.returncode == 0, ran.stderr
    assert "LIGHT=1" in ran.stdout


def test_the_verification_finds_a_compiler(built: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "gcc").symlink_to("/bin/true")
    ran = run("60-verify.sh", {**built[1], "PATH": f"{built[1]['PATH']}:{tmp_path}"})
    assert ran.returncode == 1
    assert "gcc" in ran.stderr


def test_the_environment_has_the_pinned_versions_and_no_torch(built: tuple[Path, dict[str, str]]) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {name.lower().replace("-", "_"): version for name, _, version in (line.partition("==") for line in lines)}
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
        ran = run("50-user.sh", environment)
        assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "etc" / "passwd").read_text().count("model-server:x:1000:1000:") == 1
    assert (tmp_path / "tmp").stat().st_mode & 0o7777 == 0o1777


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_follows_readiness(status: int, code: int) -> None:
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
        environment = {**os.environ, "KSERVE_WRAPPER_HTTP_PORT": str(server.server_address[1])}
        ran = subprocess.run([sys.executable, str(RUNTIME / "healthcheck.py")], env=environment, check=False)
        thread.join()
    assert ran.returncode == code
    assert asked == ["/v2/health/ready"]


def test_the_health_check_fails_where_nothing_listens() -> None:
    environment = {**os.environ, "KSERVE_WRAPPER_HTTP_PORT": "1"}
    ran = subprocess.run([sys.executable, str(RUNTIME / "healthcheck.py")], env=environment, check=False)
    assert ran.returncode == 1
