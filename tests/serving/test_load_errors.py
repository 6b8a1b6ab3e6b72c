"""Models that do not load, on real TorchServe: the cause is one line in log and readiness, and the pod ends in time."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

import torch

from kserve_wrapper.core.sockets import free_port
from scripts.serving import free_ports, stop, supervisor_command, tail
from tests.faults.pod import snapshot
from tests.serving.servers import Served

ARCHIVER = "from model_archiver.model_packaging import generate_model_archive as run; run()"
BASE = "from ts.torch_handler.base_handler import BaseHandler\n"
DOES = "class H(BaseHandler):\n    def initialize(self, context):\n        {}\n"
HANDLERS = {
    "raises": BASE + DOES.format("raise RuntimeError('3 layers, not 4')"),
    "imports": "import no_such_module_here\n" + BASE + "class H(BaseHandler):\n    pass\n",
    # TorchServe's own text_classifier reads its vocabulary so, and torch 2.6 and later refuse.
    "vocabulary": "import torch\nclass Model(torch.nn.Module):\n    pass\n",
    "killed": BASE + DOES.format("import os; os.kill(os.getpid(), 9)"),
    "foreign": BASE + DOES.format("import os; os.kill(os.getpid(), 4)"),
    "ends": BASE + DOES.format("import os; print('no licence was found', flush=True); os._exit(3)"),
    "hangs": BASE + DOES.format("import time; time.sleep(600)"),
    "warms": """\
import time
from mnist_handler import InputSpec, RowHandler
class H(RowHandler):
    inputs = (InputSpec("x", "FP32", (2,)),)
    def load(self, context):
        def slow(x):
            time.sleep(0.7)
            return x
        return slow
""",
    # TorchServe restores no model of a snapshot after one whose requirements it cannot install.
    "requires": BASE + "class H(BaseHandler):\n    pass\n",
    "after": BASE + "class H(BaseHandler):\n    pass\n",
}
CAUSES = {
    "raises": "it does not load: RuntimeError: 3 layers, not 4. Mend the handler",
    "imports": "it does not load: ModuleNotFoundError: No module named 'no_such_module_here'. Put the package",
    "requires": "it does not load: ERROR: ",
    "vocabulary": "it does not load: _pickle.UnpicklingError: Weights only load failed.",
    "killed": "it does not load: its process ended without a word: it was killed (SIGKILL, status 137), mostly",
    "foreign": "it does not load: its process was ended by SIGILL, code for another processor in initialize (",
    "ends": "it does not load: its process ended without an error; its last words were: no licence was found. ",
    "hangs": "it does not load: its worker took longer than startupTimeout",
    "after": "it is not registered: TorchServe stopped restoring at model requires, whose packages could not be "
    "installed: ERROR: ",
}
#: What is no fault.
AT_WORK = {"warms": re.compile(r"its worker is loading: warming, \d+ s of at most 45")}
#: Seconds that they get on a slow machine.
PATIENCE = 180


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


def restored(names: Sequence[str]) -> str:
    """The snapshot; one model has little time to load in."""
    value = json.loads(snapshot(names, 1, 60))
    if "hangs" in names:
        value["models"]["hangs"]["1.0"]["startupTimeout"] = 5
    return json.dumps(value)


@contextmanager
def running(folder: Path, names: Sequence[str], limit: float) -> Iterator[Tuple[Served, subprocess.Popen[bytes]]]:
    """A pod with these models, until the block ends."""
    store = folder / "store"
    store.mkdir()
    for name in names:
        archive(store, folder, name)
    settings = {**free_ports(), "model_snapshot": restored(names), "install_py_dep_per_model": "true"}
    port = free_port()
    flags = ["--http_port", str(port), "--enable_grpc", "false", "--start_limit", str(limit)]
    log = folder / "pod.log"
    plain: Dict[str, str] = {key: value for key, value in os.environ.items() if not key.startswith("TS_")}
    with log.open("wb") as output:
        pod = subprocess.Popen(supervisor_command(store, settings, flags), env=plain, stdout=output, stderr=output)
        try:
            yield Served(f"http://127.0.0.1:{port}", "", log), pod
        finally:
            stop(pod)


def errors(log: Path) -> List[str]:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("{")]
    return [entry["message"] for entry in map(json.loads, lines) if entry["level"] == "ERROR"]


def clients_answers(served: Served, pod: subprocess.Popen[bytes]) -> Dict[str, Tuple[int, str]]:
    """What the models' clients get, from when the list of models has each one's cause; the pod may end before."""
    found: Dict[str, Tuple[int, str]] = {}
    end = time.monotonic() + PATIENCE
    while pod.poll() is None and len(found) < len(HANDLERS) and time.monotonic() < end:
        with suppress(OSError):
            for entry in served.post("/v2/repository/index", {}):
                name = entry["name"]
                if name not in found and expected(name, entry["reason"]):
                    status, answer = served.exchange(f"/v1/models/{name}:predict", b'{"instances": [1]}')
                    found[name] = (status, answer["error"])
                    for path in (f"/v1/models/{name}", f"/v2/models/{name}/ready"):
                        status, answer = served.exchange(path)
                        assert (status, answer["ready"], expected(name, answer["reason"])) == (503, False, True), answer
        time.sleep(0.3)
    return found


def expected(model: str, reason: str) -> bool:
    return reason.startswith(CAUSES[model]) if model in CAUSES else bool(AT_WORK[model].match(reason))


def test_the_cause_is_told(tmp_path: Path) -> None:
    with running(tmp_path, list(HANDLERS), 600) as (served, pod):
        answered = clients_answers(served, pod)
    told = errors(served.log)
    for model in HANDLERS:
        status, error = answered.get(model, (0, ""))
        reason = error.partition(" is not ready: ")[2]
        assert (status, expected(model, reason)) == (503, True), (model, answered)
    for model, cause in CAUSES.items():
        version = "" if model == "after" else " 1.0"
        lines = [line for line in told if line.startswith(f"model {model!r}{version}: ")]
        assert any(line.startswith(f"model {model!r}{version}: {cause}") for line in lines), (model, told)
        # Once a cause, however often TorchServe tries again.
        assert len(lines) == len(set(lines)), lines
    assert not any(line.startswith("model 'warms'") for line in told)
    assert any("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1" in line for line in told if line.startswith("model 'vocabulary'"))
    # The checker says it before the start.
    assert "text_classifier reads its vocabulary, a pickle, by torch.load" in tail(served.log, 10**6)


def test_the_pod_ends_in_time(tmp_path: Path) -> None:
    limit = 8
    started = time.monotonic()
    with running(tmp_path, ["requires", "after"], limit) as (served, pod):
        assert pod.wait(20 * limit) == 1, tail(served.log)
    assert time.monotonic() - started > limit
    end = f"not live any more: model after has not become ready within {limit} s: it is not registered: TorchServe"
    assert any(line.startswith(end) for line in errors(served.log)), tail(served.log)
