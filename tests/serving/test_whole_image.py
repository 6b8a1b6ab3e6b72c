"""The whole image without a container engine: its steps make an environment, and a model is served from it alone."""

from __future__ import annotations

import base64
import io
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from kserve_wrapper.core.sockets import free_port
from scripts.serving import build_archive, free_ports, stop, supervisor_command, wait_ready
from tests.samples import images, predicted
from tests.serving.servers import Served
from tests.unit.deploy.image_steps import RUNTIME, build, run


@pytest.mark.skipif(os.environ.get("IMAGE") != "full", reason="5 GB and some minutes: make image-steps runs it")
def test_a_model_is_served_from_the_environment_that_the_steps_make(tmp_path: Path) -> None:
    place, environment = build(tmp_path / "image", light=False)
    verified = run("70-verify.sh", environment)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    build_archive(place / "model-store")
    http, grpc = free_port(), free_port()
    flags = ["--http_port", str(http), "--grpc_port", str(grpc)]
    python = place / "venv" / "bin" / "python"
    command = [str(python), *supervisor_command(place / "model-store", free_ports(), flags)[1:]]
    log = place / "log"
    # Nothing but the environment's own programs, as in the image.
    variables = {"PATH": f"{python.parent}:{environment['PATH']}", "HOME": str(place)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=place, env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_ready(f"http://127.0.0.1:{http}", process, log)
        check = {**variables, "TS_KSERVE_HTTP_PORT": str(http)}
        assert subprocess.run([str(python), str(RUNTIME / "healthcheck.py")], env=check, check=False).returncode == 0
        instances = []
        for pixels in images()[:8]:
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, "PNG")
            instances.append({"data": base64.b64encode(encoded.getvalue()).decode()})
        served = Served(f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}", log)
        answer = served.post("/v1/models/mnist:predict", {"instances": instances})
        assert answer == {"predictions": predicted()[:8]}
    finally:
        stop(process)
