"""The file format of config.properties, read as ``java.util.Properties.load`` reads it.

Source: the Javadoc of ``java.util.Properties.load(Reader)``. TorchServe's Python launcher and the stock wrapper
read the file more simply (``key=value`` lines); where they differ, the Java process decides what takes effect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, Mapping, Tuple

_BLANK = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_UNICODE = re.compile(r"[0-9a-fA-F]{4}")


class ConfigError(Exception):
    """A start-up setting is wrong; the message names the file, the line and what to write instead."""


@dataclass(frozen=True)
class Entry:
    """One property. ``line`` counts from 1 and is where the logical line begins."""

    value: str
    line: int


def read(path: Path) -> str:
    """The file's text. Java reads it as Latin-1, so other characters need ``\\uXXXX``.

    Raises:
        ConfigError: the file is absent or cannot be read.
    """
    try:
        return path.read_text(encoding="latin-1")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file. Put TorchServe's config.properties there, or name another by --ts-config "
            "(of the wrapper alone: --config_path) or by CONFIG_PATH."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None


def parse(text: str, source: str) -> Dict[str, Entry]:
    """All properties; of a key that repeats the last one counts.

    Args:
        text: the file's content.
        source: what to call the file in errors.

    Raises:
        ConfigError: a malformed ``\\u`` escape, the only thing that Java refuses too.
    """
    entries: Dict[str, Entry] = {}
    for number, line in _logical_lines(text):
        key, value = _split(line)
        try:
            entries[_unescape(key)] = Entry(_unescape(value), number)
        except ValueError as error:
            raise ConfigError(f"{source}, line {number}: {error}") from None
    return entries


def derive(text: str, overrides: Mapping[str, str]) -> str:
    """The same file with some keys set: lines stay as they are, the overrides follow and so win."""
    lines = [f"{key}={_escape(value)}" for key, value in overrides.items()]
    # A file that ends within a continued line must not swallow the first override.
    return "\n".join([text.rstrip("\n") + "\n", *lines, ""]) if lines else text


def _logical_lines(text: str) -> Iterator[Tuple[int, str]]:
    """Lines with their continuations joined, without blanks and comments."""
    joined, start, continued = "", 0, False
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = raw.lstrip(_BLANK)
        # A line of which nothing but the backslash has come yet may still turn out a comment.
        if not joined and (not line or line[0] in "#!"):
            continued = False
            continue
        start = number if not joined else start
        continued = _continues(line)
        if continued:
            joined += line[:-1]
        else:
            yield start, joined + line
            joined = ""
    if continued:
        yield start, joined


def _continues(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _split(line: str) -> Tuple[str, str]:
    """Key and value, divided at the first unescaped ``=``, ``:`` or blank."""
    position = 0
    while position < len(line) and line[position] not in "=:" + _BLANK:
        position += 2 if line[position] == "\\" else 1
    rest = line[position:].lstrip(_BLANK)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(_BLANK)
    return line[:position], rest


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    out, position = [], 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\" and position < len(text):
            character = text[position]
            position += 1
            if character == "u":
                character, position = _unicode(text, position)
            else:
                character = _ESCAPES.get(character, character)
        elif character == "\\":
            break
        out.append(character)
    # Two escapes make one character beyond the Basic Multilingual Plane.
    return "".join(out).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _unicode(text: str, position: int) -> Tuple[str, int]:
    digits = text[position : position + 4]
    if not _UNICODE.fullmatch(digits):
        raise ValueError(f"'\\u{digits}' is no character. Write \\u and four hexadecimal digits, or \\\\u.")
    return chr(int(digits, 16)), position + 4


def _escape(value: str) -> str:
    """A value as one physical line; leading blanks would be dropped, so the first one is escaped."""
    text = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    text = text.replace("\f", "\\f")
    text = "\\" + text if text[:1] == " " else text
    return "".join(c if ord(c) < 256 else _surrogates(c) for c in text)


def _surrogates(character: str) -> str:
    """``\\uXXXX`` as Java writes it: two of them beyond the Basic Multilingual Plane."""
    raw = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[i]:02x}{raw[i + 1]:02x}" for i in range(0, len(raw), 2))
