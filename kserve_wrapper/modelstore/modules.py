"""Files of an archive that another module hides, or that hide one: Python imports by name, and a worker has one path.

TorchServe puts the unpacked archive before what is installed, and Python takes a folder before a file of its name.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath
from typing import Iterator, Optional

from kserve_wrapper.modelstore.findings import Finding, Report
from kserve_wrapper.torchserve.archive import Archive

#: The handler base. MNIST's handler, in KServe's sample and here, has its name, and becomes the package.
_BASE = "mnist_handler"


def check(archive: Archive, wrong: Report, doubtful: Report) -> Iterator[Finding]:
    """Findings about the modules in the archive's root.

    Args:
        archive: one that could be read.
        wrong, doubtful: make an error and a warning about it.
    """
    packages = {member.split("/")[0] for member in archive.members if member.count("/") == 1 and _is_package(member)}
    for member in sorted(archive.members):
        if "/" in member or not member.endswith(".py"):
            continue
        name = PurePosixPath(member).stem
        if name in packages:
            if does_something(archive.text(member)):
                yield wrong(
                    f"{archive.path.name} holds {member} beside the package {name}: Python imports the package, and "
                    "never this file",
                    "Name the file otherwise",
                )
        elif name != _BASE or does_something(archive.text(member)):
            place = installed(name)
            if place is not None:
                yield doubtful(
                    f"{archive.path.name} holds {member}, which in the worker hides the installed module {name} "
                    f"({place})",
                    "Name the file otherwise",
                )


def does_something(source: Optional[str]) -> bool:
    """Whether a file of Python defines a class or a function ``handle``, what TorchServe calls a handler."""
    try:
        body = ast.parse(source or "").body
    except (SyntaxError, ValueError):
        return True
    return any(
        isinstance(node, ast.ClassDef)
        or (isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == "handle")
        for node in body
    )


def installed(name: str) -> Optional[str]:
    """Where a module of this name lies in the standard library or is installed; None where there is none.

    Neither the working directory nor PYTHONPATH counts, which the worker need not have.
    """
    if name in sys.builtin_module_names:
        return "built into Python"
    paths = sysconfig.get_paths()
    places = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    places.append(str(Path(paths["platstdlib"]) / "lib-dynload"))
    found = PathFinder.find_spec(name, places)
    if found is not None and found.origin is not None:
        return found.origin
    if name in (_BASE, __name__.partition(".")[0]):
        return "of ts-kserve-wrapper"
    return None


def _is_package(member: str) -> bool:
    return member.endswith("/__init__.py")
