"""`make demo`: the document's walk-through on real TorchServe, from archive to explanation, on one screen."""

from __future__ import annotations

import base64
import io
import json
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.drawing.heat import Caption, figure
from scripts.serving import ROOT, DidNotStart, build_archive, supervised
from scripts.terminal import Step as Progress
from scripts.terminal import dim, done, say
from scripts.walkthrough import Step, WrongAnswer, heat_map, load, post, predicted, steps

BUILD = ROOT / "build"
PICTURE = BUILD / "explanation.png"
#: What a person may want to do after the demo.
_NEXT = (
    ("make serve", "the same server, until Ctrl-C"),
    ("make try", "a page in the browser to draw digits on, while it serves"),
    ("make test", "everything that is tested here"),
)


def port(wanted: int) -> int:
    """``wanted`` where it is free, else another one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", wanted))
        except OSError:
            chosen = free_port()
            say(dim(f"port {wanted} is taken; using {chosen}"))
            return chosen
    return wanted


def in_words(base: str, step: Step) -> str:
    """What a sample's picture is, and how sure the model is: ``a 2, 93.4%``."""
    document = load(step.body)
    asked = {**document, "parameters": {**document.get("parameters", {}), "probabilities": True}}
    path = step.path.replace(":explain", ":predict").replace("/explain", "/infer")
    request = urllib.request.Request(base + path, data=json.dumps(asked).encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        digit, share = predicted(json.load(response))
    return f"a {digit}, {share:.1%}"


def show(base: str, step: Step) -> Any:
    """Send one request, check its answer, say it in words with the line that asks the same, return it."""
    answer = post(base, step)
    step.check(answer)
    words = in_words(base, step)
    done(f"{step.title + ':':20} {'why ' if 'explain' in step.title else ''}{words}")
    say(f"  {dim(step.curl(base))}")
    return answer


def walk(base: str, picture: Path) -> None:
    """All requests; draws one explanation into ``picture``. Raises WrongAnswer."""
    for step in steps():
        answer = show(base, step)
        if step.title == "V2 explain, bytes":
            target = answer["parameters"]["targets"]
            draw(load(step.body)["inputs"][0]["data"][0], answer, f"a {target}", in_words(base, step), picture)


def draw(encoded: str, answer: Any, target: str, words: str, picture: Path) -> None:
    """Write the digit (base64) and its heat map as a PNG."""
    digit = Image.open(io.BytesIO(base64.b64decode(encoded)))
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure(digit, heat_map(answer), Caption(target, words, "integrated_gradients")).save(picture)


def serve_and_walk() -> None:
    """Everything between an empty build folder and the last answer."""
    store, log = BUILD / "model-store", BUILD / "demo.log"
    with Progress("Built mnist.mar"):
        build_archive(store, quiet=True)
    http_port, grpc_port = port(8080), port(8081)
    with ExitStack() as running:
        with Progress("Started TorchServe and the wrapper"):
            running.enter_context(supervised(store, log, http_port, grpc_port))
        walk(f"http://127.0.0.1:{http_port}", PICTURE)


def main() -> None:
    """Entry point: exit status 0 only when every answer is right."""
    try:
        serve_and_walk()
    except WrongAnswer as error:
        sys.exit(f"demo: wrong answer: {error}\n      the log is {Path('build') / 'demo.log'}")
    except DidNotStart as error:
        sys.exit(f"demo: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.output or ''}demo: the archive could not be built (status {error.returncode}; see above)")
    say(f"\nEvery answer is right. What speaks for the digit, as a picture: {PICTURE.relative_to(ROOT)}\n\nNext:")
    for command, what in _NEXT:
        say(f"  {command:12} {dim(what)}")


if __name__ == "__main__":
    main()
