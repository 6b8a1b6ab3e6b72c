"""One question to a model: the prediction, its explanation, and what a page shows of both."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

from PIL import Image

from kserve_wrapper.drawing.heat import Caption, figure
from kserve_wrapper.drawing.words import coloured_table, coloured_words
from kserve_wrapper.trying import answers, forms, pictures
from kserve_wrapper.trying.client import Server, ServerError
from kserve_wrapper.trying.forms import Form

#: Times that a picture is made smaller.
_TRIES = 4


@dataclass
class Shown:
    """What there is to see; ``errors`` are the server's own words."""

    words: str = ""
    scores: Dict[str, float] = field(default_factory=dict)
    time: str = ""
    picture: Optional[Image.Image] = None
    html: str = ""
    errors: List[str] = field(default_factory=list)
    curl: List[str] = field(default_factory=list)
    #: The requests by the names that ``curl`` reads.
    files: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What a person filled in; of ``picture``, ``text`` and ``rows`` the one that the form wants."""

    model: str
    picture: Optional[Image.Image] = None
    text: str = ""
    rows: Sequence[Sequence[Any]] = ()
    #: None: no explanation.
    method: Optional[str] = None
    #: None: the predicted class.
    target: Optional[int] = None


def ask(server: Server, form: Form, question: Question) -> Shown:
    """Ask for the prediction, then for the explanation where one is wanted.

    A picture that is too large for the server is sent smaller, which the time's line tells.
    """
    shown = Shown()
    try:
        inputs, body = _predict(server, form, question, shown)
        arrays = answers.outputs(body)
        rows = max((len(values) for values in arrays.values()), default=0)
        shown.scores = answers.scores(form, arrays)
        shown.words = "\n".join(answers.in_words(form, arrays, row) for row in range(rows))
        if question.method is not None and form.methods:
            request = forms.explain_request(inputs, question.method, question.target)
            _explain(form, question, inputs, _ask(server, question.model, "explain", request, shown), shown)
    except (forms.FormError, ServerError) as error:
        shown.errors.append(str(error))
    return shown


def _predict(server: Server, form: Form, question: Question, shown: Shown) -> Tuple[List[Dict[str, Any]], Any]:
    """The inputs that were sent, and the prediction. Raises FormError, ServerError."""
    picture = None if form.kind != forms.IMAGE or question.picture is None else forms.to_send(form, question.picture)
    for left in reversed(range(_TRIES)):
        inputs = inputs_of(form, replace(question, picture=picture))
        request = forms.predict_request(form, inputs)
        try:
            body = _ask(server, question.model, "infer", request, shown)
            break
        except ServerError as error:
            if picture is None or error.limit is None or not left:
                raise
            # Of a picture half as wide, the file has a quarter of the bytes, and something stands around it.
            share = 0.8 * error.limit / len(json.dumps(request))
            picture = pictures.scaled(picture, math.sqrt(min(share, 0.8)))
            shown.curl.clear()
    if question.picture is not None and picture is not None and picture.size != question.picture.size:
        shown.time += f", the picture sent as {picture.width} x {picture.height} pixels"
    return inputs, body


def inputs_of(form: Form, question: Question) -> List[Dict[str, Any]]:
    """The V2 inputs. Raises FormError."""
    if form.kind == forms.IMAGE:
        if question.picture is None:
            raise forms.FormError("there is no picture: draw one or drop one")
        return forms.image_inputs(form, question.picture)
    if form.kind == forms.TEXT:
        return forms.text_inputs(form, question.text)
    return forms.table_inputs(form, question.rows)


def _ask(server: Server, model: str, verb: str, request: Any, shown: Shown) -> Any:
    file = f"{verb}.json"
    shown.curl.append(answers.curl(server.base + server.path(model, f"/{verb}"), request, file))
    shown.files[file] = json.dumps(request, separators=(",", ":"))
    reply = server.ask(model, verb, request)
    shown.time += f"{', ' if shown.time else ''}{verb} {reply.seconds * 1000:.0f} ms"
    return reply.body


def _explain(form: Form, question: Question, inputs: Sequence[Dict[str, Any]], body: Any, shown: Shown) -> None:
    parts = []
    rest = list(zip(form.inputs, inputs))
    for one in answers.explanations(form, body):
        target = answers.class_in_words(one.target)
        if form.kind == forms.IMAGE and question.picture is not None:
            caption = Caption(target, shown.words.split("\n")[0], question.method or "")
            shown.picture = figure(pictures.shown(question.picture), one.values, caption, form.resize)
        elif one.words is not None:
            parts.append(coloured_words(one.words, one.values.ravel().tolist(), target))
        else:
            # Only inputs that have gradients are explained, in the model's order.
            while rest and not _fits(rest[0][0].shape, one.values.shape):
                rest.pop(0)
            tensor, sent = rest.pop(0) if rest else (None, {"data": []})
            parts.append(_table(tensor, sent["data"], one, target))
    shown.html = "".join(parts)


def _fits(declared: Sequence[int], shape: Sequence[int]) -> bool:
    return len(declared) == len(shape) and all(one in (-1, side) for one, side in zip(declared, shape))


def _table(tensor: Optional[forms.Tensor], sent: Sequence[Any], one: answers.Explanation, target: str) -> str:
    values = one.values.ravel().tolist()
    names = [f"{tensor.name if tensor else 'input'}[{number}]" for number in range(len(values))]
    if tensor is not None and len(tensor.columns) == len(values):
        names = tensor.columns
    given = [*sent[: len(values)], *[""] * (len(values) - len(sent))]
    return coloured_table(names, given, values, target)
