"""Figures of the report: tests add theirs to one JSON file, and docs/reliability.md shows that file as a table.

    python -m tests.faults.figures      write the table from docs/reliability.json into docs/reliability.md

The long forms (SOAK=1) write docs/reliability.json, which is committed; the short ones build/reliability.json.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, Mapping

ROOT = Path(__file__).resolve().parent.parent.parent
COMMITTED = ROOT / "docs" / "reliability.json"
REPORT = ROOT / "docs" / "reliability.md"
#: Drawn by the long form of the leak test.
MEMORY = ROOT / "docs" / "reliability-memory.svg"
_BEGIN, _END = "<!-- figures: written by make soak -->\n", "<!-- end of figures -->\n"


def soaking() -> bool:
    """Whether the long forms run."""
    return os.environ.get("SOAK", "") not in ("", "0")


def pick(short: Any, long: Any) -> Any:
    """A size of the test: the long form's where that runs."""
    return long if soaking() else short


def record(promise: int, name: str, figures: Mapping[str, Any]) -> None:
    """Adds one line to the report.

    Args:
        promise: its number in docs/reliability.md.
        name: what was done, in a few words.
        figures: what was measured; numbers with their unit in the name.
    """
    path = COMMITTED if soaking() else ROOT / "build" / "reliability.json"
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "reliability.lock").open("w") as lock:
        # Tests run in several processes.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _add(path, promise, name, figures)


def _add(path: Path, promise: int, name: str, figures: Mapping[str, Any]) -> None:
    report = json.loads(path.read_text()) if path.is_file() else {"machine": {}, "figures": {}}
    report["machine"] = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    report["figures"].setdefault(str(promise), {})[name] = dict(figures)
    path.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")


def table(report: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    machine = report["machine"]
    lines = [
        f"Measured on {machine['cores']} cores, {machine['system']}, Python {machine['python']}; load and servers "
        "share the machine.",
        "",
        "| promise | what was done | figures |",
        "| --- | --- | --- |",
    ]
    for promise, tests in sorted(report["figures"].items()):
        lines += [f"| {promise} | {name} | {_shown(figures)} |" for name, figures in sorted(tests.items())]
    if MEMORY.is_file():
        lines += ["", f"![Resident memory at half load]({MEMORY.name})"]
    return "\n".join(lines) + "\n"


def render(text: str, report: Mapping[str, Any]) -> str:
    """The document with its table replaced. Raises ValueError where it has no place for one."""
    before, _, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError("docs/reliability.md has lost the marks around its figures")
    return f"{before}{_BEGIN}\n{table(report)}\n{_END}{after}"


def _shown(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in figures.items() if value != {})


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"“{key}” × {count}" for key, count in value.items()).replace("|", "\\|")
    return f"{value:,}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def main() -> int:
    REPORT.write_text(render(REPORT.read_text(), json.loads(COMMITTED.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
