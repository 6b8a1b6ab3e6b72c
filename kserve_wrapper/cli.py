"""The command line: KServe's flags and ours, from one table of settings."""

from __future__ import annotations

import argparse
import math
from dataclasses import Field
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Sequence, get_type_hints

from kserve_wrapper._version import __version__
from kserve_wrapper.settings import IGNORED, Settings, flag, options, variable

_TRUE = ("y", "yes", "t", "true", "on", "1")
_FALSE = ("n", "no", "f", "false", "off", "0")


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings from the command line and the environment.

    Exits with status 2 and a message at standard error for what makes no sense, and with 0 after --help.
    """
    parser = build_parser()
    values: Dict[str, Any] = {}
    given = vars(parser.parse_args(arguments))
    try:
        for item in options():
            if given.get(item.name) is not None:
                values[item.name] = given[item.name]
            elif environ.get(variable(item), "") != "":
                values[item.name] = _from_environment(item, environ)
        return Settings(**values)
    except ValueError as error:
        parser.error(str(error))


class _Parser(argparse.ArgumentParser):
    """A mistake is one line: the usage of some fifty flags would hide it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. {self.prog} --help lists all flags\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser; flags that are not given are None, so that the environment can speak."""
    parser = _Parser(
        prog="ts-kserve wrapper",
        description="KServe V1 and V2 (Open Inference Protocol), REST and gRPC, in front of TorchServe.",
        epilog="A flag beats its environment variable, which beats the default. 0 turns a limit off.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    for item in options():
        _add(parser, item)
    group = parser.add_argument_group("taken from KServe's command lines, without effect")
    for name, reason in IGNORED:
        group.add_argument(f"--{name}", nargs="?", help=reason, metavar="VALUE")
    return parser


def table() -> str:
    """All settings as a table in Markdown, for the documentation."""
    lines = ["| flag | variable | default | unit | what |", "| --- | --- | --- | --- | --- |"]
    for item in options():
        text = item.metadata["text"].replace("%%", "%").replace("|", "\\|")
        default = "" if item.default is None else f"`{_shown(item.default)}`"
        lines.append(f"| `{flag(item)}` | `{variable(item)}` | {default} | {item.metadata['unit']} | {text} |")
    return "\n".join(lines) + "\n"


def document() -> str:
    """docs/settings.md."""
    return (
        "# Settings of the wrapper\n\n"
        "A flag beats its variable, which beats the default. 0 turns a limit off. This file is what\n"
        "`python -m kserve_wrapper.cli` prints.\n\n" + table()
    )


def _add(parser: argparse.ArgumentParser, item: Field[Any]) -> None:
    convert = _converter(item)
    details = [f"{item.metadata['unit']}, " if item.metadata["unit"] else ""]
    details.append("no default" if item.default is None else f"default {_shown(item.default)}")
    names: List[str] = sorted({flag(item), f"--{item.name}"}, reverse=True)
    extra: Dict[str, Any] = {"nargs": "?", "const": True} if convert is to_bool else {}
    parser.add_argument(
        *names,
        dest=item.name,
        type=convert,
        default=None,
        metavar=_placeholder(convert),
        help=f"{item.metadata['text']} ({''.join(details)}; {variable(item)})",
        **extra,
    )


def _from_environment(item: Field[Any], environ: Mapping[str, str]) -> Any:
    text = environ[variable(item)]
    try:
        return _converter(item)(text)
    except (ValueError, argparse.ArgumentTypeError):
        raise ValueError(
            f"environment variable {variable(item)}: {text!r} is no {_placeholder(_converter(item))}"
        ) from None


def _converter(item: Field[Any]) -> Callable[[str], Any]:
    hint = _HINTS[item.name]
    converters: Dict[Any, Callable[[str], Any]] = {bool: to_bool, int: int, float: to_seconds}
    return converters.get(hint, str)


def _placeholder(convert: Callable[[str], Any]) -> str:
    names: Dict[Any, str] = {to_bool: "true|false", int: "INTEGER", to_seconds: "NUMBER"}
    return names.get(convert, "TEXT")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def to_bool(text: str) -> bool:
    """As KServe reads its switches: yes, true, on, 1 and so on."""
    lowered = text.lower()
    if lowered not in _TRUE + _FALSE:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return lowered in _TRUE


def to_seconds(text: str) -> float:
    """A finite number."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


_HINTS = get_type_hints(Settings)


if __name__ == "__main__":
    print(document(), end="")
