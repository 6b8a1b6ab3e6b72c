"""Lines to try a running model with: one each of V1, V2 and explanation, from an example or its metadata."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from kserve_wrapper.modelstore.examples import as_v2, v1_request, v2_request

#: Characters of a request that may stand in the line itself.
_LONGEST = 160
#: Seconds for the explanation that is asked to see whether there is any.
_EXPLAIN_WITHIN = 20.0


def lines(base: str, name: str, example: Optional[Mapping[str, Any]], folder: Path) -> List[str]:
    """curl's lines; requests too long for one are written into ``folder``.

    Args:
        base: the running server's address.
        example: a request that the model's folder has, V1 or V2.
    """
    metadata = model_metadata(base, name)
    v1, v2 = v1_request(metadata), v2_request(metadata)
    if example is not None and "instances" in example:
        v1 = dict(example)
        v2 = as_v2(example, metadata) or v2
    elif example is not None:
        v2 = dict(example)
    made = []
    if v1 is not None:
        made.append(_curl(f"{base}/v1/models/{name}:predict", v1, folder / f"{name}-v1.json"))
    if v2 is not None:
        made.append(_curl(f"{base}/v2/models/{name}/infer", v2, folder / f"{name}-v2.json"))
    if v1 is not None and _explains(f"{base}/v1/models/{name}:explain", v1):
        made.append(_curl(f"{base}/v1/models/{name}:explain", v1, folder / f"{name}-v1.json"))
    return made or [f"curl {base}/v2/models/{name}"]


def model_metadata(base: str, name: str) -> Dict[str, Any]:
    """V2 model metadata of a running server. Raises OSError."""
    with urllib.request.urlopen(f"{base}/v2/models/{name}", timeout=30) as response:
        found: Dict[str, Any] = json.load(response)
    return found


def _explains(url: str, request: Mapping[str, Any]) -> bool:
    """Whether the model explains the request; its metadata does not tell."""
    asked = urllib.request.Request(url, json.dumps(request).encode())
    try:
        with urllib.request.urlopen(asked, timeout=_EXPLAIN_WITHIN):
            return True
    except OSError:
        return False


def _curl(url: str, request: Mapping[str, Any], file: Path) -> str:
    text = json.dumps(request)
    if len(text) <= _LONGEST and "'" not in text:
        return f"curl {url} -d '{text}'"
    file.write_text(text, encoding="utf-8")
    return f"curl {url} -d @{file}"
