"""Schemathesis makes requests from the OpenAPI description, valid and not, and checks what comes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.serving.servers import Served

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_schemathesis_finds_nothing(served: Served, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "run", f"{served.base}/openapi.json", "--checks", CHECKS, "--max-examples", "15"]
    command += ["--phases", "examples,coverage,fuzzing", "--seed", "1", "--generation-database", "none", "--no-color"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert served.get("/v2/health/ready") == {"ready": True}
