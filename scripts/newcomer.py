"""`make newcomer`: what somebody new does, in an empty environment outside the clone, and how long it takes.

    python -m scripts.newcomer [--python python3.13] [--kind image]

Builds the wheel, makes a virtual environment elsewhere, installs WHEEL[serve,try] there, and then with no file
of the clone: `ts-kserve new`, `build`, `serve`, a request whose answer must be right, of an image the picture that
`explain` makes, and the page of `try`. Ends with 0 only then.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

from kserve_wrapper.core.sockets import free_port
from scripts.serving import stop

ROOT = Path(__file__).resolve().parent.parent
MODEL = "shapes"
#: What the example of each kind is answered with.
ANSWERS: Dict[str, Any] = {
    "image": ["circle"],
    "text": ["positive", "negative"],
    "table": ["leaves", "stays"],
}
READY_WITHIN = 240.0


class WentWrong(Exception):
    """A step failed, or the answer is another; the message says which and how."""


@dataclass
class Course:
    """Steps with the seconds that each took."""

    #: Before each command: the environment's Python, or ``ts-kserve``.
    command: Sequence[str]
    folder: Path
    environ: Mapping[str, str]
    seconds: Dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start

    def run(self, *arguments: str) -> None:
        """One command of ts-kserve in the folder; raises WentWrong."""
        with self.step(arguments[0]):
            run([*self.command, *arguments], self.folder, self.environ)

    @contextlib.contextmanager
    def started(self, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """One command of ts-kserve that goes on until the block ends; what it prints goes to ``log``."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self.command, *arguments],
                cwd=self.folder,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            stop(process)

    def serve(self, archive: str, request: Path, looks: Sequence[Callable[[Course, str], None]] = ()) -> Any:
        """The answer of a server that is started for the request and stopped after it.

        Args:
            looks: called with this and the server's address while it runs.
        """
        log = self.folder / "serve.log"
        flags = ["--free_ports", "--log", str(self.folder / "torchserve.log")]
        with self.started("serve", archive, *flags, log=log) as process:
            with self.step("serve"):
                base = _ready(process, log)
            with self.step("ask"):
                asked = urllib.request.Request(f"{base}/v1/models/{MODEL}:predict", request.read_bytes())
                with urllib.request.urlopen(asked, timeout=60) as response:
                    answer = json.load(response)
            for look in looks:
                look(self, base)
            return answer


def explain(course: Course, base: str) -> None:
    """The picture of what speaks for the answer. Raises WentWrong."""
    [row] = json.loads((course.folder / MODEL / "example.json").read_text())["instances"]
    (course.folder / "example.png").write_bytes(base64.b64decode(row["data"] if isinstance(row, dict) else row))
    course.run("explain", "example.png", "--url", base, "--model", MODEL, "--out", "heat.png")
    if not (course.folder / "heat.png").read_bytes().startswith(b"\x89PNG"):
        raise WentWrong("explain: heat.png is no picture")


def look_at_page(course: Course, base: str) -> None:
    """The page that ``try`` makes of the server. Raises WentWrong."""
    port, log = free_port(), course.folder / "try.log"
    with course.step("try"), course.started("try", base, "--port", str(port), log=log) as process:
        page, said = _page(f"http://127.0.0.1:{port}/config", process, log), log.read_text(encoding="utf-8")
        if '"components"' not in page or f"serves {MODEL}" not in said:
            raise WentWrong(f"try: no page of {MODEL}; it said:\n{said}")


def _page(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                text: str = response.read().decode()
                return text
        except urllib.error.HTTPError as error:
            error.close()
            time.sleep(0.2)
        except OSError:
            time.sleep(0.2)
    raise WentWrong(f"try: no page; it said:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")


def walk(course: Course, kind: str, *build: str, looks: Sequence[Callable[[Course, str], None]] = ()) -> None:
    """new, build, serve, ask; ``build`` are flags of that. Raises WentWrong."""
    course.run("new", MODEL, "--kind", kind)
    course.run("build", MODEL, "--out", "store", *build)
    answer = course.serve(f"store/{MODEL}.mar", course.folder / MODEL / "example.json", looks)
    wanted = {"predictions": ANSWERS[kind]}
    if answer != wanted:
        raise WentWrong(f"the answer is {answer}, not {wanted}")


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """The server's address, once it says that it is ready."""
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end and process.poll() is None:
        said = log.read_text(encoding="utf-8", errors="replace")
        found = re.search(r"Ready: .* at (http://\S+),.*Ctrl-C", said, re.DOTALL)
        if found is not None:
            return found.group(1)
        time.sleep(0.2)
    raise WentWrong(f"serve: not ready; it said:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")


def run(command: Sequence[str], folder: Path, environ: Optional[Mapping[str, str]] = None) -> None:
    """Raises WentWrong with what the command said."""
    done = subprocess.run(
        list(command), cwd=folder, env=dict(environ or os.environ), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise WentWrong(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")


def build_wheel(out: Path, *flags: str) -> Path:
    """This clone's wheel, in ``out``."""
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *flags, "-w", str(out), str(ROOT)], out)
    (wheel,) = out.glob("ts_kserve_wrapper-*.whl")
    return wheel


def unpack(wheel: Path, target: Path) -> None:
    """The wheel's files, as an installation has them."""
    run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(target)], wheel.parent)


def clean_environment(**more: str) -> Dict[str, str]:
    """This one without what leads back to the clone."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TS_", "PYTHON", "VIRTUAL_ENV"))}
    return {**kept, **more}


def install(python: str, folder: Path) -> Course:
    """A new environment with the wheel in it; installing is the first step of the course."""
    environ = clean_environment()
    wheel = build_wheel(folder)
    course = Course([str(folder / "venv" / "bin" / "ts-kserve")], folder, environ)
    with course.step("install"):
        run([python, "-m", "venv", str(folder / "venv")], folder, environ)
        pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        run([*pip, f"ts-kserve-wrapper[serve,try] @ {wheel.as_uri()}"], folder, environ)
    return course


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.newcomer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="of the new environment (default: this one)")
    parser.add_argument("--kind", choices=sorted(ANSWERS), default="image", help="default: %(default)s")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="newcomer-") as name:
        try:
            course = install(options.python, Path(name))
            looks = [*([explain] if options.kind == "image" else []), look_at_page]
            walk(course, options.kind, looks=looks)
        except WentWrong as error:
            print(f"newcomer: {error}", file=sys.stderr)
            return 1
    for step, seconds in course.seconds.items():
        print(f"{step:8} {seconds:6.1f} s")
    print(f"{'all':8} {sum(course.seconds.values()):6.1f} s, and the answer is right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
