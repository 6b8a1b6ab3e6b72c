"""Run as a script in an unpacked archive's folder: loads the model as TorchServe's worker does, and asks it one row.

    python trial_worker.py JOB.json

JOB has ``name``, ``directory``, ``handler``, ``envelope``, ``requests`` (V1 or V2; without any, one row is made up from
the metadata) and ``result``, the file that gets what came of it. What goes wrong is a traceback, as in the worker.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple


def main(job: Mapping[str, Any]) -> None:
    """Loads, writes the result; answers, writes it again."""
    started = time.monotonic()
    service = _load(job)
    result: Dict[str, Any] = {"seconds": time.monotonic() - started, "metadata": _metadata(service), "answers": []}
    _write(job, result)
    for request in job["requests"] or _made_up(result["metadata"]):
        result["answers"].append(_answer(service, request))
        _write(job, result)


def _load(job: Mapping[str, Any]) -> Any:
    import ts
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
    from ts.model_loader import ModelLoaderFactory

    cache = MetricsCacheYamlImpl(config_file_path=os.path.join(ts.__path__[0], "configs", "metrics.yaml"))
    cache.initialize_cache()
    cache.model_name = job["name"]
    return ModelLoaderFactory.get_model_loader().load(
        job["name"], job["directory"], job["handler"], None, 1, job["envelope"], True, cache
    )


def _metadata(service: Any) -> Optional[Dict[str, Any]]:
    """What the handler says of itself, where it can."""
    owner = getattr(service._entry_point, "__self__", None)
    # An envelope calls the handler's own entry point.
    owner = getattr(getattr(owner, "_handlefn", None), "__self__", owner)
    describe = getattr(owner, "describe_handle", None)
    try:
        described = describe() if describe is not None else None
    except Exception:  # a stock handler's is a stub
        return None
    return described if isinstance(described, dict) else None


def _made_up(metadata: Optional[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    if metadata is None:
        return []
    from kserve_wrapper.modelstore.examples import v2_request

    request = v2_request(metadata)
    return [] if request is None else [request]


def _answer(service: Any, request: Mapping[str, Any]) -> Tuple[int, str]:
    """Status and answer, as text, to one request in TorchServe's form."""
    from ts.context import RequestProcessor

    context, processor = service.context, RequestProcessor({"explain": "False"})
    context.request_ids, context.request_processor = {0: "check"}, [processor]
    context.metrics.request_ids = {0: "check"}
    answers = service._entry_point([{"body": request}], context)
    if not isinstance(answers, List) or len(answers) != 1:
        raise ValueError(f"the handler gave {answers!r:.200} for one request, not a list of one answer")
    answer = answers[0]
    if isinstance(answer, (bytes, bytearray)):
        text = answer.decode("utf-8", "replace")
    else:
        text = answer if isinstance(answer, str) else json.dumps(answer, default=str)
    return processor.get_response_status_code(), text


def _write(job: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    Path(job["result"]).write_text(json.dumps(result, default=str), encoding="utf-8")


if __name__ == "__main__":
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.realpath(place or ".") != here]
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
