"""Where a setting was written, and what it comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Optional, Tuple

from kserve_wrapper.torchserve.config import Setting


def place(file: Path, setting: Optional[Setting]) -> Tuple[Path, Optional[int]]:
    """File and line of a setting; the command line or a variable stands in the file's stead."""
    prefix = f"{file}, line "
    if setting is None:
        return file, None
    if setting.where.startswith(prefix):
        return file, int(setting.where[len(prefix) :])
    return Path(setting.where), None


def value(settings: Mapping[str, Setting], key: str) -> str:
    """A property in small letters, or an empty text."""
    return settings[key].value.strip().lower() if key in settings else ""
