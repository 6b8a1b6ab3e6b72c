"""Schemathesis makes requests from the protocol's own description, lawful and not: no status that it does not have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.clients.open_inference import document
from tests.serving.servers import Served

CHECKS = "not_a_server_error,status_code_conformance,response_schema_conformance"


def test_the_protocol_promises_nothing_that_is_not_kept(served: Served, tmp_path: Path) -> None:
    described = document()
    # Besides any model, the one that is there.
    for path, operations in described["paths"].items():
        for parameter in operations.get("parameters", ()):
            known = "mnist" if parameter["name"] == "model" else "1.0"
            parameter["schema"] = {"anyOf": [{"type": "string", "enum": [known]}, {"type": "string"}]}
            assert "{" + parameter["name"] + "}" in path
    file = tmp_path / "open_inference.json"
    file.write_text(json.dumps(described))
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "run", str(file), "--url", served.base, "--checks", CHECKS, "--max-examples", "25"]
    command += ["--phases", "examples,coverage,fuzzing", "--seed", "1", "--generation-database", "none", "--no-color"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert served.get("/v2/health/ready") == {"ready": True}
