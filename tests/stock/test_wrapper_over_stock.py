"""The wrapper installed over the stock one: the image's own start command runs ours, in front of its TorchServe."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Iterator

import pytest

from kserve_wrapper.core.sockets import free_port
from scripts.serving import ROOT, tail, wait_ready
from scripts.walkthrough import Step, post, steps
from tests.serving.mixed import probes, send_at_once
from tests.serving.torchserve_alone import torchserve_alone

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 9), reason="the stock image runs on Python 3.9")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that sees the stock packages and takes new ones for itself, and the stock wrapper's directory."""
    folder = tmp_path_factory.mktemp("image")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "python")], check=True)
    [packages] = (folder / "python" / "lib").glob("python3*/site-packages")
    (packages / "stock.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    stock = folder / "model-server" / "kserve_wrapper"
    stock.mkdir(parents=True)
    (stock / "__main__.py").write_text("raise SystemExit('this is the stock wrapper')\n")
    return folder


@pytest.fixture(scope="module")
def installed(image: Path) -> Path:
    """The program that the image starts, after the documented installation."""
    environ = {
        **os.environ,
        "SOURCE": str(ROOT),
        "TARGET": str(image / "model-server"),
        "PYTHON": str(image / "python" / "bin" / "python"),
    }
    script = ROOT / "config" / "runtime" / "stock" / "install.sh"
    ran = subprocess.run(["sh", str(script)], env=environ, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    return image / "model-server" / "kserve_wrapper" / "__main__.py"


@pytest.fixture(scope="module")
def base(image: Path, installed: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The wrapper's address, with TorchServe at one address for inference and management, as in the document."""
    folder = tmp_path_factory.mktemp("over-stock")
    shared = f"http://127.0.0.1:{free_port()}"
    extra = {"inference_address": shared, "management_address": shared, "job_queue_size": "10"}
    port = free_port()
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environ.update(
        CONFIG_PATH=str(folder / "run" / "config.properties"),
        TS_KSERVE_HTTP_PORT=str(port),
        TS_KSERVE_GRPC_PORT=str(free_port()),
        PROTOCOL_VERSION="v1",
    )
    log = folder / "wrapper.log"
    with torchserve_alone(store, folder / "run", "kserve", batch_size=1, extra=extra), log.open("wb") as output:
        command = [str(image / "python" / "bin" / "python"), str(installed)]
        wrapper = subprocess.Popen(command, env=environ, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_ready(f"http://127.0.0.1:{port}", wrapper, log)
            yield f"http://127.0.0.1:{port}"
            assert wrapper.poll() is None, tail(log)
        finally:
            wrapper.terminate()
            wrapper.wait(30)


def test_nothing_of_the_image_changed_its_version(image: Path, installed: Path) -> None:
    [packages] = (image / "python" / "lib").glob("python3*/site-packages")
    added = {path.name.split("-")[0].lower() for path in packages.glob("*.dist-info")}
    held = {path.name.split("-")[0].lower() for path in Path(sysconfig.get_paths()["purelib"]).glob("*.dist-info")}
    assert added & held <= {"pip", "setuptools"}
    assert "ts_kserve_wrapper" in added
    assert (installed.parent.parent / "kserve_wrapper.stock").is_dir()


@pytest.mark.parametrize("step", steps(), ids=lambda step: step.title)
def test_the_documents_requests(base: str, step: Step) -> None:
    step.check(post(base, step))


def test_64_concurrent_mixed_requests(base: str) -> None:
    assert send_at_once(base, list(probes(64, seed=5))) == []
