"""python -m benchmarks gpu: see --help."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch

from benchmarks import machine
from benchmarks.gpu import standin
from benchmarks.gpu.stages import MODES, PRECISIONS, build, explain_times, times
from benchmarks.output import add_output, write_result

BATCHES = [1, 4, 16, 64, 256, 1024, 4096]
EXPLAIN_BATCHES = [1, 8, 64, 256]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def on_device(device: str, given: argparse.Namespace, missing: List[str]) -> Dict[str, Any]:
    """Stages in every precision and mode of a device, and explanations; what cannot be built is named."""
    entries: List[Dict[str, Any]] = []
    failed: List[Dict[str, str]] = []
    explains: List[Dict[str, float]] = []
    for precision in PRECISIONS[device]:
        for mode in MODES[device]:
            setting = {"device": device, "precision": precision, "mode": mode}
            try:
                handler = build(device, precision, mode, given.batches)
                for batch in given.batches:
                    entries.append({**setting, "batch": batch, **times(handler, batch, given.seconds)})
            except Exception as error:
                # One combination that this torch cannot do must not cost the others' figures.
                failed.append({**setting, "error": f"{type(error).__name__}: {str(error)[:300]}"})
                say(f"{device} {precision} {mode}: {failed[-1]['error']}")
                continue
            say(f"{device} {precision} {mode}: done")
            if precision == "fp32" and not explains and "captum" not in missing:
                explains = [{**one, "device": device} for one in explain_times(handler, EXPLAIN_BATCHES, given.seconds)]
    return {"entries": entries, "failed": failed, "explains": explains}


def serving(seconds: float) -> Dict[str, Any]:
    """The whole stack under load where TorchServe can start; else the reason why not."""
    needed = [name for name in ("ts", "psutil", "uvicorn", "orjson") if importlib.util.find_spec(name) is None]
    if needed:
        return {"left_out": f"not installed: {', '.join(needed)} (see benchmarks/gpu/wheels.txt)"}
    from benchmarks.cases import Case
    from benchmarks.servers.ours import Ours
    from benchmarks.serving import rounds

    server = Ours()
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        try:
            server.start(Path(place) / "ours")
            cases = [Case("base64", count) for count in (1, 64, 256)] + [Case("v2-binary", 64), Case("explain", 64)]
            return {"runs": [one.to_json() for one in rounds([server], cases, 3, seconds, Path(place))]}
        except Exception as error:
            return {"left_out": f"{type(error).__name__}: {str(error)[-1500:]}"}
        finally:
            server.stop()


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: a self-test without a GPU")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="default: 1 to 4096")
    parser.add_argument("--seconds", type=float, default=0.5, help="seconds of each measurement (default: 0.5)")
    parser.add_argument("--no-serving", action="store_true", help="without the serving stack")
    add_output(parser)
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "gpu: torch sees no CUDA device here; --device cpu runs the same code as a self-test\n")
    missing = standin.prepare()
    result: Dict[str, Any] = {"kind": "gpu", "machine": machine.describe(), "missing": missing, "device": given.device}
    result["devices"] = {device: on_device(device, given, missing) for device in dict.fromkeys((given.device, "cpu"))}
    result["serving"] = {"left_out": "not asked for"} if given.no_serving else serving(3)
    write_result(result, given)
    return 0 if any(one["entries"] for one in result["devices"].values()) else 1
