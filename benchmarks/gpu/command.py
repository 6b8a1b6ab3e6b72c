"""python -m benchmarks gpu: see --help."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import torch

from benchmarks import machine
from benchmarks.gpu import standin
from benchmarks.gpu.stages import MODES, PRECISIONS, build, explain_time, times
from benchmarks.output import add_output, result_path, write_json, write_result

BATCHES = [1, 4, 16, 64, 256, 1024, 4096]
EXPLAIN_BATCHES = [1, 8, 64, 256]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def on_device(
    device: str, given: argparse.Namespace, missing: List[str], found: Dict[str, Any], save: Callable[[], None]
) -> None:
    """Stages in every precision and mode of a device, and explanations; what fails is named and costs nothing else.

    Args:
        found: takes ``entries``, ``failed`` and ``explains``.
        save: called after each part.
    """
    to_explain = "captum" not in missing
    for precision in PRECISIONS[device]:
        for mode in MODES[device]:
            setting = {"device": device, "precision": precision, "mode": mode}
            try:
                handler = build(device, precision, mode, given.batches)
                for batch in given.batches:
                    found["entries"].append({**setting, "batch": batch, **times(handler, batch, given.seconds)})
            except Exception as error:
                found["failed"].append({**setting, "error": said(error)})
                say(f"{device} {precision} {mode}: {said(error)}")
            else:
                say(f"{device} {precision} {mode}: done")
                if to_explain and precision == "fp32":
                    to_explain = False
                    explain(handler, {**setting, "mode": f"explanations ({mode})"}, given.seconds, found)
            finally:
                save()


def explain(handler: Any, setting: Dict[str, str], seconds: float, found: Dict[str, Any]) -> None:
    """Explanations in every batch size into ``found``, until one fails."""
    try:
        for batch in EXPLAIN_BATCHES:
            one = {"batch": batch, "explain": explain_time(handler, batch, seconds)}
            found["explains"].append({**one, "device": setting["device"]})
    except Exception as error:
        found["failed"].append({**setting, "error": said(error)})
        say(f"{setting['device']} explanations: {said(error)}")


def serving(seconds: float) -> Dict[str, Any]:
    """The whole stack under load where TorchServe can start; else the reason why not."""
    needed = [name for name in ("ts", "psutil", "uvicorn", "orjson") if importlib.util.find_spec(name) is None]
    if needed:
        return {"left_out": f"not installed: {', '.join(needed)} (see benchmarks/gpu/wheels.txt)"}
    try:
        return {"runs": load(seconds)}
    except Exception as error:
        return {"left_out": f"{type(error).__name__}: {str(error)[-1500:]}"}


def load(seconds: float) -> List[Dict[str, Any]]:
    from benchmarks.cases import Case
    from benchmarks.servers.ours import Ours
    from benchmarks.serving import rounds

    server = Ours()
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        try:
            server.start(Path(place) / "ours")
            cases = [Case("base64", count) for count in (1, 64, 256)] + [Case("v2-binary", 64), Case("explain", 64)]
            return [one.to_json() for one in rounds([server], cases, 3, seconds, Path(place))]
        finally:
            server.stop()


def positive(text: str) -> float:
    """Seconds of a measurement; argparse reports the ValueError."""
    value = float(text)
    if not 0 < value <= 60:
        raise ValueError
    return value


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: a self-test without a GPU")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="default: 1 to 4096")
    parser.add_argument("--seconds", type=positive, default=0.5, help="of each measurement (default: 0.5)")
    parser.add_argument("--no-serving", action="store_true", help="without the serving stack")
    add_output(parser)
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "gpu: torch sees no CUDA device here; --device cpu runs the same code as a self-test\n")
    missing = standin.prepare()
    # Whole from the start, so that what is there of a run that was cut short has a report too.
    devices = {device: {"entries": [], "failed": [], "explains": []} for device in dict.fromkeys((given.device, "cpu"))}
    result: Dict[str, Any] = {"kind": "gpu", "machine": machine.describe(), "missing": missing, "device": given.device}
    result.update(devices=devices, serving={"left_out": "not asked for" if given.no_serving else "not reached"})
    path = result_path("gpu", given)
    for device, found in devices.items():
        on_device(device, given, missing, found, lambda: write_json(result, path))
    if not given.no_serving:
        result["serving"] = serving(3)
    write_result(result, given, path)
    return 0 if any(one["entries"] for one in devices.values()) else 1
