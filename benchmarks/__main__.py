"""python -m benchmarks COMMAND …: see each command's --help and benchmarks/README.md."""

from __future__ import annotations

import importlib
import signal
import sys

COMMANDS = {
    "serving": "load on this project, TorchServe alone, the peers and the stock wrapper",
    "limit": "what the hardware allows: in-process, and TorchServe with an empty handler",
    "handler": "our handlers beside stock ones of the same kind: MNIST by stage, texts, photographs, boxes",
    "growth": "cost against rows, connections, image size, workers and models",
    "models": "photographs, sentences and DenseNet-161, beside TorchServe's own handlers, the stock wrapper and peers",
    "decoding": "what decoding a photograph takes, by size, format, rows, threads and scale",
    "pod": "the whole stack in a pod of 1 CPU and 2 GiB, with models of several sizes",
    "gpu": "the handler's stages on an NVIDIA GPU beside the machine's CPU",
    "profile": "the budget of one request in microseconds, by stage",
    "flags": "our server with flags of the wrapper set one way and another",
    "http": "the wrapper behind its own HTTP server, uvicorn's and granian's",
    "rpc": "gRPC beside REST, and grpcio's servers whose handlers do nothing",
    "perf_analyzer": "NVIDIA's perf_analyzer on our server, over all wire forms",
    "report": "Markdown and plots from a result's JSON",
}


def main() -> int:
    """Entry point; the exit status of the command."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(__doc__)
        for name, meaning in COMMANDS.items():
            print(f"  {name:<13} {meaning}")
        return 0 if len(sys.argv) > 1 and sys.argv[1] in ("-h", "--help") else 2
    # Ended from outside, a run ends its servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    module = importlib.import_module(f"benchmarks.{sys.argv[1]}")
    status: int = module.main(sys.argv[2:])
    return status


if __name__ == "__main__":
    sys.exit(main())
