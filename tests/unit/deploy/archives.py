"""Small model archives for the tests: a manifest and what it names, nothing that runs."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Mapping, Optional


def make_mar(
    directory: Path,
    name: str = "mnist",
    version: str = "1.0",
    file: str = "",
    members: Optional[Mapping[str, str]] = None,
    **model: Any,
) -> Path:
    """Write an archive; ``model`` overrides the manifest's fields, an empty handler file and ``members`` are put in."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / (file or f"{name}.mar")
    fields = {"modelName": name, "modelVersion": version, "handler": "handler.py", **model}
    with zipfile.ZipFile(path, "w") as mar:
        mar.writestr("MAR-INF/MANIFEST.json", json.dumps({"runtime": "python", "model": fields}))
        mar.writestr("handler.py", "")
        for member, text in (members or {}).items():
            mar.writestr(member, text)
    return path
