"""Explain what a running model makes of an image or a text, as a picture, a text's words also as a page.

    ts-kserve explain digit.png --out heat.png
    ts-kserve explain "what a lovely day" --model sentiment --out words.html

Red speaks for the class, blue against it. The class is the predicted one unless --target names another. Exit status: 0,
1 where the server refuses or cannot explain, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from html import escape
from pathlib import Path
from typing import List, Sequence, Tuple

from PIL import Image

from kserve_wrapper.drawing.words import coloured_words
from kserve_wrapper.drawing.words_image import words_image
from kserve_wrapper.trying import answers, forms, pictures
from kserve_wrapper.trying.asking import Question, ask
from kserve_wrapper.trying.client import Server, ServerError
from kserve_wrapper.trying.forms import Form, FormError

#: The suffix of what is written as a page.
PAGE = ".html"


class WrongArgument(ValueError):
    """An argument is not what it should be; the message says which and what to write."""


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    options = parser().parse_args(arguments)
    try:
        server = Server(options.url)
        model = options.model or only_model(server)
        form = forms.read_form(server.metadata(model))
        question = read_question(options, model, form)
        if options.out.suffix.lower() == PAGE:
            options.out.write_text(page(server, form, question), encoding="utf-8")
        else:
            draw(server, form, question).save(options.out, "PNG")
    except (ServerError, FormError) as error:
        print(f"explain: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"explain: {error}", file=sys.stderr)
        return 2
    return 0


def only_model(server: Server) -> str:
    """The name of the only model that the server has. Raises WrongArgument, ServerError."""
    models = server.models()
    if len(models) != 1:
        raise WrongArgument(f"name one of the models with --model: {', '.join(models) or 'none is served'}")
    return models[0]


def read_question(options: argparse.Namespace, model: str, form: Form) -> Question:
    """What is asked. Raises WrongArgument."""
    if not form.methods:
        raise FormError(f"{model} gives no explanations")
    method = options.method or form.methods[0]
    if method not in form.methods:
        raise WrongArgument(f"--method {method}: {model} has {', '.join(form.methods)}")
    target = None if options.target is None else _target(options.target, form)
    if form.kind == forms.IMAGE:
        return Question(model, picture=_picture(Path(options.what), form.mode), method=method, target=target)
    if form.kind == forms.TEXT:
        return Question(model, text=_text(options.what), method=method, target=target)
    raise WrongArgument(f"{model} takes neither images nor text: ts-kserve try explains tables")


def draw(server: Server, form: Form, question: Question) -> Image.Image:
    """The explanation as a picture; what the model answers goes to standard output. Raises ServerError, FormError."""
    if form.kind == forms.IMAGE:
        shown = ask(server, form, question)
        if shown.errors or shown.picture is None:
            raise ServerError("; ".join(shown.errors) or f"{question.model} gave no explanation")
        print(f"the answer: {shown.words}")
        return shown.picture
    return words_image(*_words(server, form, question))


def page(server: Server, form: Form, question: Question) -> str:
    """The explanation of a text as an HTML page that needs nothing from elsewhere.

    Raises:
        WrongArgument: the model takes images.
        ServerError, FormError: as of :func:`draw`.
    """
    if form.kind != forms.TEXT:
        raise WrongArgument(f"--out: {question.model} takes images, whose explanation is a picture: write NAME.png")
    words, values, target = _words(server, form, question)
    head = f'<meta charset="utf-8"><title>{escape(question.model)}: {escape(target)}</title>'
    body = f'<body style="font-family:sans-serif;line-height:2">{coloured_words(words, values, target)}</body>'
    return f"<!doctype html>\n<html><head>{head}</head>{body}</html>\n"


def _words(server: Server, form: Form, question: Question) -> Tuple[Sequence[str], List[float], str]:
    """A text's words, a number for each, and the class; they go to standard output as well."""
    request = forms.explain_request(forms.text_inputs(form, question.text), question.method or "", question.target)
    found = answers.explanations(form, server.ask(question.model, "explain", request).body)[0]
    if found.words is None:
        raise ServerError(f"{question.model} does not say its words: its handler needs the hook tokens")
    values = [float(value) for value in found.values.ravel()]
    print(f"for {found.target}: " + " ".join(f"{word} {value:+.2g}" for word, value in zip(found.words, values)))
    return found.words, values, found.target


def _target(text: str, form: Form) -> int:
    if text in form.labels:
        return form.labels.index(text)
    if text.isdecimal() and (not form.labels or int(text) < len(form.labels)):
        return int(text)
    raise WrongArgument(f"--target {text}: the classes are {', '.join(form.labels) or 'numbers'}")


def _picture(path: Path, mode: str) -> Image.Image:
    if not path.is_file():
        raise WrongArgument(f"{path}: there is no such file, and this model takes images")
    try:
        return pictures.open_picture(str(path), mode)
    except pictures.PictureError as error:
        raise WrongArgument(f"{path}: {error}") from error


def _text(what: str) -> str:
    path = Path(what)
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else what
    except (OSError, UnicodeDecodeError) as error:
        # A long text is no file's name.
        if isinstance(error, UnicodeDecodeError):
            raise WrongArgument(f"{path}: not a text in UTF-8, and this model takes text") from error
        return what


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="ts-kserve explain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("what", metavar="IMAGE|TEXT", help="an image's or a text's file, or the text itself")
    made.add_argument("--url", default="http://127.0.0.1:8080", help="the server (default: %(default)s)")
    made.add_argument("--model", help="its name; not needed where there is one")
    made.add_argument("--target", help="the class to explain, by number or name (default: the predicted one)")
    made.add_argument("--method", help="Captum's method (default: the model's first)")
    made.add_argument(
        "--out",
        type=_out,
        default=Path("heat.png"),
        metavar="FILE",
        help="NAME.png; of a text NAME.html, too (heat.png)",
    )
    return made


def _out(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in ("", ".png", PAGE):
        raise argparse.ArgumentTypeError(
            f"{text}: {path.suffix} is not written here: NAME.png, or of a text NAME{PAGE}"
        )
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: there is no directory {path.parent}")
    return path
