"""`make demo`: the document's walk-through on real TorchServe, from archive to explanation."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from kserve_wrapper.core.sockets import free_port
from scripts.picture import draw
from scripts.serving import ROOT, DidNotStart, build_archive, supervised
from scripts.walkthrough import Step, WrongAnswer, heat_map, load, post, steps

BUILD = ROOT / "build"
PICTURE = BUILD / "explanation.png"
#: Longer answers are cut when shown.
SHOWN = 300


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)


def port(wanted: int) -> int:
    """``wanted`` where it is free, else another one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", wanted))
        except OSError:
            chosen = free_port()
            say(f"port {wanted} is taken; using {chosen}")
            return chosen
    return wanted


def show(base: str, step: Step) -> Any:
    """Send one request, print it and its answer, check the answer, return it."""
    say(f"\n# {step.title}\n$ {step.curl(base)}")
    answer = post(base, step)
    text = json.dumps(answer)
    say(text if len(text) <= SHOWN else f"{text[:SHOWN]} … ({len(text):,} characters)")
    step.check(answer)
    return answer


def walk(base: str) -> None:
    """All requests; draws one explanation."""
    for step in steps():
        answer = show(base, step)
        if step.title == "V2 explain, bytes":
            image = load(step.body)["inputs"][0]["data"][0]
            target = answer["parameters"]["targets"]
            draw(image, heat_map(answer), f"what speaks for class {target}, as predicted", PICTURE)
            say(f"The digit and its heat map: {PICTURE.relative_to(ROOT)}")


def serve_and_walk() -> None:
    """Everything between an empty build folder and the last answer."""
    store, log = BUILD / "model-store", BUILD / "demo.log"
    say("Building mnist.mar")
    build_archive(store)
    say(f"Starting TorchServe and the wrapper (log: {log.relative_to(ROOT)})")
    http_port = port(8080)
    with supervised(store, log, http_port, port(8081)):
        walk(f"http://127.0.0.1:{http_port}")
        say("\nStopping")


def main() -> None:
    """Entry point: exit status 0 only when every answer is right."""
    try:
        serve_and_walk()
    except WrongAnswer as error:
        sys.exit(f"demo: wrong answer: {error}\n      the log is {Path('build') / 'demo.log'}")
    except DidNotStart as error:
        sys.exit(f"demo: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"demo: the archive could not be built (status {error.returncode}; see above)")
    say("Every answer is right.")


if __name__ == "__main__":
    main()
