"""``ts-kserve COMMAND …``: finds the command and hands it the rest of the line."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Callable, Optional, Sequence

from kserve_wrapper._version import __version__
from kserve_wrapper.commands import COMMANDS

#: The exit status of a wrong command line.
USAGE = 2
#: The extra that brings a module, where that is not ``serve``.
EXTRAS = {"gradio": "try"}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs one command; its exit status, or 2 where there is no such command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else USAGE
    if words[0] == "--version":
        print(__version__)
        return 0
    if words[0] not in COMMANDS:
        meant = difflib.get_close_matches(words[0], COMMANDS, 1)
        hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(COMMANDS)}"
        print(f"ts-kserve: no command {words[0]!r}: {hint}", file=sys.stderr)
        return USAGE
    try:
        run: Callable[[Sequence[str]], int] = importlib.import_module(f"{__package__}.{COMMANDS[words[0]][0]}").main
        return run(words[1:])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == __name__.partition(".")[0]:
            raise
        print(f"ts-kserve {words[0]}: {_absent(error.name)}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has enough of it.
        sys.stderr.close()
        return 1


def _absent(module: str) -> str:
    extra = EXTRAS.get(module.partition(".")[0], "serve")
    return f"the module {module} is not installed for {sys.executable}: pip install 'ts-kserve-wrapper[{extra}]'"


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ts-kserve COMMAND …",
            "",
            "PyTorch models behind KServe's V1 and V2, over REST and gRPC, run by TorchServe.",
            "",
            *lines,
            "",
            "ts-kserve COMMAND --help tells the rest; ts-kserve --version the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
