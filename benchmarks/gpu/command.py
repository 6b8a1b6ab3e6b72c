"""The handler on an NVIDIA GPU in few minutes, the most telling first; each setting in a process of its own."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import torch

from benchmarks import machine
from benchmarks.gpu.cudatests import Tests
from benchmarks.gpu.plan import PACKAGES, PARTS, Step, missing_for_serving, package_file, steps
from benchmarks.gpu.process import Ahead, Process
from benchmarks.output import add_output, result_path, write_json, write_result

MODELS = ("resnet50", "encoder", "mnist")
#: Share of the budget that tests and packages may take together, and its greatest length in seconds.
FIRST_SHARE, FIRST_MOST = 0.3, 120.0
#: A step is not begun with fewer seconds left.
LEAST = 8.0
#: What every part needs beside torch; see wheels.txt.
NEEDED = {"ts": "torchserve", "captum": "captum", "orjson": "orjson", "yaml": "PyYAML", "PIL": "pillow"}
NEEDED.update(matplotlib="matplotlib", pytest="pytest", hypothesis="hypothesis", torchvision="torchvision")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Run:
    """One run: its budget, its result so far, and where its processes work."""

    def __init__(self, given: argparse.Namespace, result: Dict[str, Any], path: Path, place: Path) -> None:
        self.given, self.result, self.path, self.place = given, result, path, place
        self.begin = time.monotonic()

    def left(self) -> float:
        """Seconds of the budget that are left."""
        return float(self.given.budget) - (time.monotonic() - self.begin)

    def save(self) -> None:
        self.result["seconds"] = round(time.monotonic() - self.begin, 1)
        write_json(self.result, self.path)

    def first(self) -> None:
        """Weights and references; then, at the same time since no times count here, the tests and the packages."""
        models, device = self.given.models, self.given.device
        most = min(FIRST_MOST, FIRST_SHARE * self.given.budget)
        end = time.monotonic() + most
        tests = Tests(self.place) if "tests" in self.given.parts else None
        prepare = self._process("prepare", {"do": "prepare", "models": models})
        packages = []
        if "settings" in self.given.parts:
            wanted = [one for one in PACKAGES if one[0] in models and (device == "cuda" or one[1] == "fp32")]
            for model, precision in wanted:
                job = {"do": "package", "model": model, "precision": precision, "file": package_file(model, precision)}
                packages.append(self._process(f"package {model} {precision}", job))
        for name, process in [("prepare", prepare)] + [(one.name, one) for one in packages]:
            lines = process.wait(max(end - time.monotonic(), 30.0 if name == "prepare" else 0.0))
            self.result["entries"].append({"part": "packages", "name": name, "lines": lines})
            say(f"{name}: {lines[-1:]}")
        if tests is not None:
            self.result["tests"] = tests.wait(end - time.monotonic())
            say(f"tests: { {key: value for key, value in self.result['tests'].items() if key != 'end'} }")
        self.save()

    def _process(self, name: str, job: Dict[str, Any]) -> Process:
        process = Process(name, {**job, "device": self.given.device, "place": str(self.place)}, self.place)
        process.go()
        return process

    def step(self, step: Step, ahead: Ahead, following: Optional[Step]) -> None:
        """One step's figures into the result, the next one's process started meanwhile."""
        if self.left() < LEAST:
            self.result["left_out"].append({"name": step.name, "why": "no time left"})
            return
        process = ahead.take(step.name, self._told(step))
        # Not beside figures of the CPU, which the next one's imports would disturb.
        if following is not None and step.part != "cpu" and self.given.device != "cpu":
            ahead.start(following.name, self._told(following))
        process.go()
        begin = time.monotonic()
        # A self-test may run on a busy machine of two cores.
        lines = process.wait(min(step.limit * (1 if self.given.device == "cuda" else 4), self.left()))
        self.result["entries"].append(
            {
                "part": step.part,
                "name": step.name,
                "setting": step.job,
                "seconds": time.monotonic() - begin,
                "lines": lines,
            }
        )
        say(f"{step.name}: {time.monotonic() - begin:.1f} s, {lines[-1].get('error', 'done') if lines else 'nothing'}")
        self.save()

    def _told(self, step: Step) -> Dict[str, Any]:
        return {**step.job, "place": str(self.place), "traces": str(self.path.parent)}

    def all(self) -> None:
        """Everything, in order, until the budget is spent."""
        self.first()
        plan = list(steps(self.given.models, self.given.device, self.given.batches, self.given.seconds))
        plan = [one for one in plan if one.part in self.given.parts and self._can(one)]
        ahead = Ahead(self.place)
        try:
            for number, one in enumerate(plan):
                self.step(one, ahead, plan[number + 1] if number + 1 < len(plan) else None)
        finally:
            ahead.stop()

    def _can(self, step: Step) -> bool:
        """Whether a step's requisites are there; what is not goes into ``left_out``."""
        why = ""
        if step.part == "serving" and missing_for_serving():
            why = f"not installed: {', '.join(missing_for_serving())} (see benchmarks/gpu/wheels-serving.txt)"
        package = step.job.get("package")
        if package and not (self.place / package).exists():
            why = "AOTInductor made no package of it"
        if why:
            self.result["left_out"].append({"name": step.name, "why": why})
        return not why


def number(low: float, high: float) -> Callable[[str], float]:
    """An argparse type: a number above ``low``, up to ``high``."""

    def read(text: str) -> float:
        value = float(text)
        if not low < value <= high:
            raise ValueError
        return value

    return read


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: a self-test without a GPU")
    parser.add_argument("--budget", type=number(0, 86400), default=420.0, help="seconds in all (default: 420)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all, in this order")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: all")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64, 256], help="default: 1 8 64 256")
    parser.add_argument("--seconds", type=number(0, 60), default=0.6, help="of each measurement (default: 0.6)")
    add_output(parser)
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "gpu: torch sees no CUDA device here; --device cpu runs the same code as a self-test\n")
    missing = [package for name, package in NEEDED.items() if importlib.util.find_spec(name) is None]
    if missing:
        parser.exit(2, f"gpu: not installed: {', '.join(missing)}; see benchmarks/gpu/wheels.txt\n")
    result: Dict[str, Any] = {"kind": "gpu", "machine": machine.describe(), "device": given.device}
    result.update(budget=given.budget, parts=given.parts, tests=None, entries=[], left_out=[])
    path = result_path("gpu", given)
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        run = Run(given, result, path, Path(place))
        try:
            run.all()
        finally:
            run.save()
    write_result(result, given, path)
    return 1 if failed(result) else 0


def failed(result: Dict[str, Any]) -> List[str]:
    """Names of what failed, tests among them."""
    names = [one["name"] for one in result["entries"] if any("error" in line for line in one["lines"])]
    return names + (result["tests"] or {}).get("failures", [])
