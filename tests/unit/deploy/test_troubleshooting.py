"""docs/troubleshooting.md: its messages are the code's, and no fault of the server is missing."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Iterator, List, Sequence, Set

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
PACKAGES = ("kserve_wrapper", "mnist_handler")
#: Rooms of the wrapper that face clients.
ROOMS = ("batching", "core", "httpd", "rest", "rpc", "torchserve", "upstream")
#: Errors that are not the client's fault, by the names that make them.
FAULTS = {
    *("InternalError", "BadGateway", "Unavailable", "QueueFull", "Unseen", "DeadlineExceeded", "OutOfResources"),
    *("NotReached", "Busy", "Refused", "WorkerLost"),
}
#: Stands for what a message's braces hold.
GAP = "…"
ROWS = re.findall(r"^\| `(.+?)` \|", PAGE, re.MULTILINE)


def text_of(node: ast.AST) -> str:
    """A string's text with ``GAP`` for each value in it; empty for what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or GAP for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return ""


def trees(folders: Sequence[str] = PACKAGES) -> Iterator[ast.AST]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield ast.parse(path.read_text())


def said() -> Set[str]:
    """Every text of the code that a person may read."""
    return {text for tree in trees() for node in ast.walk(tree) if (text := text_of(node))}


def faults() -> List[str]:
    """Texts of the errors that tell a client of a fault that is not its own."""
    rooms = [f"kserve_wrapper/{room}" for room in ROOMS]
    calls = [node for tree in trees(rooms) for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in FAULTS]
    return sorted({text for call in made if (text := text_of(call.args[0]))})


def fits(row: str, text: str) -> bool:
    """The row's pieces stand in the text, in their order."""
    return re.search(".*".join(re.escape(piece.strip()) for piece in row.split(GAP)), text, re.DOTALL) is not None


SAID = said()


@pytest.mark.parametrize("row", ROWS)
def test_the_code_says_it(row: str) -> None:
    assert len(row.replace(GAP, "").strip()) > 10
    assert any(fits(row, text) for text in SAID)


@pytest.mark.parametrize("text", faults())
def test_every_fault_of_the_server_is_there(text: str) -> None:
    assert any(fits(row, text) for row in ROWS)


def test_there_are_faults_to_look_for() -> None:
    assert len(faults()) > 20
