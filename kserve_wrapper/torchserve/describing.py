"""Whether a handler can describe itself, told from its archive.

To a handler that cannot, the question for its metadata is a request without a body: it fails, and the worker logs a
traceback that looks like a fault.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import FrozenSet, Iterator, Optional

from kserve_wrapper.torchserve.archive import BUILTIN_HANDLERS, Archive, ArchiveError, read

#: Modules that bring no base class which describes itself, beside Python's own.
_PLAIN = frozenset({"captum", "numpy", "PIL", "torch", "torchvision", "transformers", "ts"})
_WORD = "describe"


def may_describe(store: Optional[Path], url: str) -> bool:
    """False where the handler surely has no description: asking it is of no use.

    Args:
        store: the model store; None where it is not known.
        url: the archive, as TorchServe tells it.
    """
    if store is None or "/" in url or not (store / url).is_file():
        return True
    try:
        archive = read(store / url)
    except ArchiveError:
        return True
    if archive.handler in BUILTIN_HANDLERS:
        return False
    own = {member.split("/")[0].partition(".")[0] for member in archive.members}
    return any(_describes(archive, member, frozenset(own)) for member in _sources(archive))


def _sources(archive: Archive) -> Iterator[str]:
    return (member for member in archive.members if member.endswith(".py"))


def _describes(archive: Archive, member: str, own: FrozenSet[str]) -> bool:
    """The file has a description, or takes something from where one may be, or cannot be read."""
    text = archive.text(member)
    if text is None or _WORD in text:
        return True
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return True
    known = _PLAIN | own | frozenset(getattr(sys, "stdlib_module_names", ()))
    return not all(root in known for root in _imports(tree))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]
