"""Build the image with docker or podman and try it as a cluster would run it.

    python -m scripts.image ts-kserve-wrapper:0.1.0
    python -m scripts.image --variant cpu --torch-index-url https://…/whl/cpu ts-kserve-wrapper:0.1.0-cpu

The try: read-only root, no capabilities, the image's own user, one model mounted at /mnt/models. It must become
healthy by its own HEALTHCHECK, answer a request rightly, hold its bill of materials and no pip, and end with 0 on
SIGTERM. Ends with 0 when all of it holds, 1 when something does not, 2 for wrong arguments, 3 without an engine.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Iterator, List, Optional, Sequence

from kserve_wrapper.modelstore import write
from scripts.serving import ROOT, build_archive

DOCKERFILE = ROOT / "config" / "runtime" / "Dockerfile"
#: Repository (with a registry's port, if any) and tag.
NAME = re.compile(r"[a-z0-9][a-z0-9._/-]*(:[0-9]+/[a-z0-9._/-]+)?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
HEALTHY_WITHIN = 180.0


class Failed(Exception):
    """What the image promises does not hold; the message says what."""


def engine(wanted: Optional[str]) -> Optional[str]:
    """An engine whose daemon answers, or None."""
    for name in [wanted] if wanted else ["docker", "podman"]:
        found = shutil.which(name)
        if found and subprocess.run([found, "info"], capture_output=True, check=False).returncode == 0:
            return found
    return None


def commit() -> str:
    ran = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout.strip()


def epoch() -> str:
    """SOURCE_DATE_EPOCH, or the time of the last commit."""
    if os.environ.get("SOURCE_DATE_EPOCH"):
        return os.environ["SOURCE_DATE_EPOCH"]
    ran = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or "0"


def build_command(program: str, options: argparse.Namespace) -> List[str]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(epoch())))
    arguments = {
        "VARIANT": options.variant,
        "TORCH_INDEX_URL": options.torch_index_url,
        "SOURCE_DATE_EPOCH": epoch(),
        "REVISION": commit(),
        "CREATED": created,
    }
    # Only Docker's format has HEALTHCHECK, and podman's own is another.
    form = ["--format", "docker"] if Path(program).name == "podman" else []
    pairs = [item for name, value in arguments.items() for item in ("--build-arg", f"{name}={value}")]
    return [program, "build", "--file", str(DOCKERFILE), "--tag", options.name, *form, *pairs, str(ROOT)]


def run_command(program: str, options: argparse.Namespace, models: Path) -> List[str]:
    return [
        *(program, "run", "--detach", "--read-only", "--tmpfs", "/tmp:rw,mode=1777,exec", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--publish", "127.0.0.1::8080"),
        *("--volume", f"{models}:/mnt/models:ro", options.name),
    ]


def output(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Failed(f"{shlex.join(command)}: {ran.stderr.strip() or ran.stdout.strip()}")
    return ran.stdout.strip()


@contextlib.contextmanager
def container(program: str, command: Sequence[str]) -> Iterator[str]:
    """A running container, removed at the end."""
    name = output(*command)
    try:
        yield name
    except Failed:
        print(subprocess.run([program, "logs", name], capture_output=True, text=True, check=False).stderr[-4000:])
        raise
    finally:
        subprocess.run([program, "rm", "--force", name], capture_output=True, check=False)


def wait_healthy(program: str, name: str) -> None:
    end, state = time.monotonic() + HEALTHY_WITHIN, ""
    while time.monotonic() < end:
        state = output(program, "inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", name)
        if state == "running healthy":
            return
        if not state.startswith("running"):
            break
        time.sleep(1)
    raise Failed(f"not healthy by its own HEALTHCHECK within {HEALTHY_WITHIN:g} s: {state}")


def ask(port: str) -> None:
    """One picture of each kind of answer: the digit must be right."""
    from PIL import Image

    from tests.samples import images, predicted

    encoded = io.BytesIO()
    Image.fromarray(images()[0]).save(encoded, "PNG")
    body = json.dumps({"instances": [{"data": base64.b64encode(encoded.getvalue()).decode()}]}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/mnist:predict", data=body, timeout=60) as answer:
        got = json.load(answer)
    if got != {"predictions": predicted()[:1]}:
        raise Failed(f"a wrong answer: {got}")


def smoke(program: str, options: argparse.Namespace, models: Path) -> None:
    """Raises Failed for the first promise that the image breaks."""
    with container(program, run_command(program, options, models)) as name:
        wait_healthy(program, name)
        ask(output(program, "port", name, "8080").splitlines()[0].rpartition(":")[2])
        if output(program, "exec", name, "id", "-u") == "0":
            raise Failed("it runs as root")
        json.loads(output(program, "exec", name, "cat", "/opt/venv/sbom.cdx.json"))
        if (
            subprocess.run([program, "exec", name, "python", "-m", "pip"], capture_output=True, check=False).returncode
            == 0
        ):
            raise Failed("pip is in it")
        output(program, "stop", "--time", "40", name)
        status = output(program, "inspect", "--format", "{{.State.ExitCode}}", name)
        if status != "0":
            raise Failed(f"it ended with {status} on SIGTERM")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    options = _options(arguments)
    if options.print:
        program = options.engine or "docker"
        print(shlex.join(build_command(program, options)))
        print(shlex.join(run_command(program, options, Path("MODELS"))))
        return 0
    found = engine(options.engine)
    if found is None:
        which = options.engine or "docker or podman"
        print(f"image: no container engine answers ({which}). Start one, or run `make image-steps`.", file=sys.stderr)
        return 3
    try:
        if subprocess.run(build_command(found, options), check=False).returncode:
            raise Failed("the build failed, as told above")
        with tempfile.TemporaryDirectory(prefix="ts-kserve-image-") as place:
            build_archive(Path(place) / "mars")
            write.write(Path(place) / "models", [Path(place) / "mars" / "mnist.mar"])
            for path in [Path(place), *(Path(place) / "models").rglob("*")]:
                path.chmod(0o755 if path.is_dir() else 0o644)
            smoke(found, options, Path(place) / "models")
    except Failed as problem:
        print(f"image: {problem}", file=sys.stderr)
        return 1
    print(f"{options.name}: built, healthy, right, and it stops as it should")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.image", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="the image's name with its tag")
    parser.add_argument("--variant", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--torch-index-url", default="", help="where torch comes from; needed for --variant cpu")
    parser.add_argument("--engine", help="docker, podman or a path (default: the first that answers)")
    parser.add_argument("--print", action="store_true", help="print the engine's commands and run none")
    return parser


def _options(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    if not NAME.fullmatch(options.name):
        parser.error(f"{options.name!r} has no tag. Write NAME:VERSION, such as ts-kserve-wrapper:0.1.0")
    if options.variant == "cpu" and not options.torch_index_url:
        parser.error("--variant cpu needs --torch-index-url, the address of PyTorch's CPU builds")
    return options


if __name__ == "__main__":
    sys.exit(main())
