"""Models that do not load, on real TorchServe: the cause is one line in log and readiness, and the pod ends in time."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Dict, List, Tuple

import torch

from kserve_wrapper.core.sockets import free_port
from scripts.serving import free_ports, stop, supervisor_command, tail
from tests.faults.pod import snapshot
from tests.serving.servers import Served

ARCHIVER = "from model_archiver.model_packaging import generate_model_archive as run; run()"
BASE = "from ts.torch_handler.base_handler import BaseHandler\n"
HANDLERS = {
    "raises": BASE
    + "class H(BaseHandler):\n    def initialize(self, context):\n        raise RuntimeError('3 layers, not 4')\n",
    "imports": "import no_such_module_here\n" + BASE + "class H(BaseHandler):\n    pass\n",
    # TorchServe's own text_classifier reads its vocabulary so, and torch 2.6 and later refuse.
    "vocabulary": "import torch\nclass Model(torch.nn.Module):\n    pass\n",
    # Last: TorchServe restores no model of a snapshot after one whose requirements it cannot install.
    "requires": BASE + "class H(BaseHandler):\n    pass\n",
}
CAUSES = {
    "raises": "it does not load: RuntimeError: 3 layers, not 4. Mend the handler",
    "imports": "it does not load: ModuleNotFoundError: No module named 'no_such_module_here'. Put the package",
    "requires": "it does not load: ERROR: ",
    "vocabulary": "it does not load: _pickle.UnpicklingError: Weights only load failed.",
}
#: Seconds that the models get.
LIMIT = 60


def archive(store: Path, folder: Path, name: str) -> None:
    handler = folder / f"{name}.py"
    handler.write_text(HANDLERS[name])
    arguments = ["--model-name", name, "--version", "1.0", "--handler", str(handler), "--export-path", str(store)]
    if name == "requires":
        requirements = folder / "requirements.txt"
        # No index is asked: there is no such file.
        requirements.write_text("./no-such-package-of-ours-1.0.tar.gz\n")
        arguments += ["--requirements-file", str(requirements)]
    if name == "vocabulary":
        vocabulary = folder / "source_vocab.pt"
        torch.save(functools.partial(int, base=2), vocabulary)
        arguments[arguments.index("--handler") + 1] = "text_classifier"
        arguments += ["--model-file", str(handler), "--extra-files", str(vocabulary)]
    subprocess.run([sys.executable, "-c", ARCHIVER, *arguments], check=True)


def errors(log: Path) -> List[str]:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("{")]
    return [entry["message"] for entry in map(json.loads, lines) if entry["level"] == "ERROR"]


def clients_answers(served: Served, pod: subprocess.Popen[bytes]) -> Dict[str, Tuple[int, str]]:
    """What the models' clients get, from when the list of models has each one's cause; the pod may end before."""
    found: Dict[str, Tuple[int, str]] = {}
    while pod.poll() is None and len(found) < len(CAUSES):
        with suppress(OSError):
            for entry in served.post("/v2/repository/index", {}):
                if entry["name"] not in found and entry["reason"].startswith(CAUSES[entry["name"]]):
                    status, answer = served.exchange(f"/v1/models/{entry['name']}:predict", b'{"instances": [1]}')
                    found[entry["name"]] = (status, answer["error"])
        time.sleep(0.3)
    return found


def test_the_cause_is_told_and_the_pod_ends(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    for name in HANDLERS:
        archive(store, tmp_path, name)
    settings = {
        **free_ports(),
        "model_snapshot": snapshot(list(HANDLERS), 1, 60),
        "install_py_dep_per_model": "true",
    }
    port = free_port()
    flags = ["--http_port", str(port), "--enable_grpc", "false", "--start_limit", str(LIMIT)]
    log = tmp_path / "pod.log"
    plain: Dict[str, str] = {key: value for key, value in os.environ.items() if not key.startswith("TS_")}
    started = time.monotonic()
    command = supervisor_command(store, settings, flags)
    with log.open("wb") as output:
        pod = subprocess.Popen(command, env=plain, stdout=output, stderr=output)
        try:
            answered = clients_answers(Served(f"http://127.0.0.1:{port}", "", log), pod)
            assert pod.wait(5 * LIMIT) == 1, tail(log)
        finally:
            stop(pod)
    assert time.monotonic() - started > LIMIT / 2
    told = errors(log)
    for model, cause in CAUSES.items():
        status, error = answered.get(model, (0, ""))
        assert (status, f"is not ready: {cause}" in error) == (503, True), (model, answered)
        assert any(line.startswith(f"model {model!r} 1.0: {cause}") for line in told), (model, told)
    assert any("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1" in line for line in told if line.startswith("model 'vocabulary'"))
    # The checker says it before the start.
    assert "text_classifier reads its vocabulary, a pickle, by torch.load" in tail(log, 10**6)
    end = f"not live any more: model imports has not become ready within {LIMIT} s: it"
    assert any(line.startswith(end) for line in told)
