"""Lines to try a running model with: one each of V1, V2 and explanation, from an example or its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List, Mapping, Optional

from kserve_wrapper.modelstore.examples import as_v2, v1_request, v2_request
from kserve_wrapper.trying.client import Server
from kserve_wrapper.trying.forms import read_form

#: Characters of a request that may stand in the line itself.
_LONGEST = 160


def lines(base: str, name: str, example: Optional[Mapping[str, Any]], folder: Path) -> List[str]:
    """curl's lines; requests too long for one are written into ``folder``.

    Args:
        base: the running server's address.
        example: a request that the model's folder has, V1 or V2.

    Raises:
        ServerError: it does not tell about the model.
    """
    metadata = Server(base).metadata(name)
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
    if v1 is not None and read_form(metadata).methods:
        made.append(_curl(f"{base}/v1/models/{name}:explain", v1, folder / f"{name}-v1.json"))
    return made or [f"curl {base}/v2/models/{name}"]


def _curl(url: str, request: Mapping[str, Any], file: Path) -> str:
    text = json.dumps(request)
    if len(text) <= _LONGEST and "'" not in text:
        return f"curl {url} -d '{text}'"
    file.write_text(text, encoding="utf-8")
    return f"curl {url} -d @{file}"
