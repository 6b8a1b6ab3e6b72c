"""Make a folder for a model of one's own, complete: it builds, serves and passes its own test as it is.

    ts-kserve new my_model --kind image

It gets a handler, a small model with a script that trains it, mar.json, model-config.yaml, an example request and a
test. Put your model in the place of the small one.
"""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Sequence

from kserve_wrapper.modelstore.modules import installed

TEMPLATES = Path(__file__).with_name("templates")
#: Kind: what the folder's model does.
KINDS = {
    "image": "images in, a label out",
    "text": "text in, a label out; rows of unequal length",
    "table": "named columns of several datatypes in, a label out",
    "detector": "images in, boxes out, as many as there are",
    "custom": "numbers in and out, with a parameter of its own",
}
#: What stands in the templates for the name, and for the name as a class has it.
NAME, CLASS = "template_name", "TemplateName"


class NameTaken(ValueError):
    """No model can have this name here; the message says why."""


def main(arguments: Sequence[str]) -> int:
    """Entry point: 0, 1 where the weights could not be made, 2 where no folder can be."""
    options = parser().parse_args(arguments)
    folder: Path = options.folder
    try:
        check_name(folder.name)
        write(folder, options.kind)
    except (NameTaken, OSError) as error:
        print(f"new: {error}", file=sys.stderr)
        return 2
    print(f"{folder}: {KINDS[options.kind]}", flush=True)
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed here; where it is, make the weights: python train.py")
    elif subprocess.run([sys.executable, "train.py"], cwd=folder).returncode:
        print(f"new: {folder / 'train.py'} failed; its own words are above", file=sys.stderr)
        return 1
    print(f"Next:\n  ts-kserve serve {folder}")
    return 0


def check_name(name: str) -> None:
    """Raise NameTaken unless modules and classes can be called after the name, and hide none."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise NameTaken(f"{name!r} is no name for a model: use small letters, digits and _, a letter first")
    for module in (name, f"{name}_handler"):
        place = installed(module)
        if place is not None:
            raise NameTaken(f"a model {name} would hide the installed module {module} ({place}); take another name")


def write(folder: Path, kind: str) -> None:
    """The folder of a template, with the folder's name in it.

    Raises:
        NameTaken: there is something in the folder.
        OSError: it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NameTaken(f"{folder} is there already and not empty; nothing was changed")
    named = "".join(part.capitalize() for part in folder.name.split("_"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for source in sorted((TEMPLATES / kind).iterdir()):
            if source.is_file():
                text = source.read_text(encoding="utf-8").replace(NAME, folder.name).replace(CLASS, named)
                (folder / source.name.replace(NAME, folder.name)).write_text(text, encoding="utf-8")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="ts-kserve new",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="kinds:\n" + "\n".join(f"  {kind:9} {text}" for kind, text in KINDS.items()),
    )
    made.add_argument("folder", type=Path, metavar="NAME", help="the folder to make; its name is the model's")
    made.add_argument(
        "--kind", choices=list(KINDS), default="image", help="what goes in and out (default: %(default)s)"
    )
    return made
