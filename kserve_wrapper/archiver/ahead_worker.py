"""Run as a script in an unpacked archive's folder: loads the handler as TorchServe's worker does, and has it compile.

    python ahead_worker.py JOB.json

JOB has ``name``, ``directory``, ``handler``, ``instructions``, ``target``, the file that gets the package, and
``result``, the file that gets ``{}``, or ``reason``, why nothing was compiled, or ``mismatch``, how it answers
otherwise than eager.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, Dict, Mapping


class _Done(BaseException):
    """What there is to do is done: what a subclass's own ``initialize`` goes on to does not matter."""


def main(job: Mapping[str, Any]) -> None:
    """Writes the result."""
    try:
        from mnist_handler.compute.ahead import NotCompiled
        from mnist_handler.compute.verify import Mismatch
        from mnist_handler.handler import RowHandler
    except ImportError as error:
        _write(job, {"reason": f"the handler base mnist_handler is not there, or too old for it ({error})"})
        return
    result: Dict[str, str] = {"reason": "the handler is not built on mnist_handler"}

    def compile_instead(self: Any, context: Any) -> None:
        result.clear()
        try:
            self.compile_ahead(context, Path(job["target"]), job["instructions"])
        except NotCompiled as error:
            result["reason"] = str(error)
        except Mismatch as error:
            result["mismatch"] = str(error)
        raise _Done

    RowHandler.initialize = compile_instead  # type: ignore[method-assign]
    with contextlib.suppress(_Done):
        _load(job)
    _write(job, result)


def _load(job: Mapping[str, Any]) -> None:
    import ts
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
    from ts.model_loader import ModelLoaderFactory

    cache = MetricsCacheYamlImpl(config_file_path=os.path.join(ts.__path__[0], "configs", "metrics.yaml"))
    cache.initialize_cache()
    cache.model_name = job["name"]
    loader = ModelLoaderFactory.get_model_loader()
    loader.load(job["name"], job["directory"], job["handler"], None, 1, None, True, cache)


def _write(job: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.realpath(place or ".") != here]
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
