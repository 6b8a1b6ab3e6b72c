"""The hooks for other models: their own loading, text, ragged rows, declared outputs, and TorchServe's own ways."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Sequence, Type

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnist_handler import DeclaredParameter, InputSpec, InputValues, OutputSpec, Request, RequestError, RowHandler
from mnist_handler.compute.loading import LoadError
from mnist_handler.config import ConfigError
from mnist_handler.conventions import INSTEAD, ConventionError
from mnist_handler.inputs.collate import pad_rows, ragged, row_lengths
from mnist_handler.inputs.spec import PREPROCESSED
from mnist_handler.requests import Answer
from tests.unit.mnist_handler.conftest import RequestProcessor, make_context, start
from tests.unit.mnist_handler.helpers import AUTO, ask, ask_one, needs_torchscript, refusal, v1, v2

IDS = InputSpec("ids", "INT64", (-1,), low=0, high=99, pad=0, buckets=(4, 8, 16), companion="mask")


class Text(RowHandler):
    """The mean of a text's word lengths, and each word's."""

    inputs = (InputSpec("text", "BYTES", (), becomes=IDS),)
    outputs = (OutputSpec("mean", "FP32", ()), OutputSpec("words", "INT64", (-1,), like="text"))

    def load(self, context: Any) -> Any:
        def model(ids: torch.Tensor, mask: torch.Tensor) -> Dict[str, torch.Tensor]:
            seen.append(tuple(ids.shape))
            return {"words": ids, "mean": (ids * mask).sum(1) / mask.sum(1)}

        return model

    def encode(self, spec: InputSpec, values: Sequence[Any], parameters: Any) -> List[np.ndarray[Any, Any]]:
        return [np.array([len(word) for word in text.split()], np.int64) for text in values]


seen: List[Any] = []


def serve(folder: Path, kind: Type[RowHandler], **config: Any) -> RowHandler:
    settings = {"max_batch_size": 8, **config}
    (folder / "nothing.py").write_text("from torch import nn\nclass Nothing(nn.Identity):\n    pass\n")
    return start(folder, settings, kind, model_file="nothing.py", weights=None)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> RowHandler:
    return serve(tmp_path_factory.mktemp("text"), Text)


def over_the_wire(handler: RowHandler, document: Any) -> Any:
    context = make_context(Path("."))
    context.request_processor = [RequestProcessor({})]
    (body,) = handler.handle([{"body": document}], context)
    return json.loads(body)


def test_texts_of_unequal_lengths_in_one_batch(text: RowHandler) -> None:
    seen.clear()
    first, second = ask(text, v1("a bb ccc", "dddd"), v1("one two three four five"))
    assert seen == [(3, 5)]
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert np.asarray(first.outputs["mean"]).tolist() == [2.0, 4.0]
    assert first.outputs["words"].by_row() == [[1, 2, 3], [4]]  # type: ignore[union-attr]
    assert second.outputs["words"].by_row() == [[3, 3, 5, 4, 4]]  # type: ignore[union-attr]


def test_what_v1_and_v2_clients_get(text: RowHandler) -> None:
    assert over_the_wire(text, {"instances": ["a bb ccc", "dddd"]}) == {
        "predictions": [{"mean": 2.0, "words": [1, 2, 3]}, {"mean": 4.0, "words": [4]}]
    }
    inputs = [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a bb ccc", "dddd"]}]
    answer = over_the_wire(text, {"inputs": inputs})
    outputs = {one["name"]: (one["datatype"], one["shape"], one["data"]) for one in answer["outputs"]}
    assert outputs == {
        "mean": ("FP32", [2], [2.0, 4.0]),
        "words": ("INT64", [2, 3], [1, 2, 3, 4, 0, 0]),
        "words_length": ("INT64", [2], [3, 1]),
    }
    named = over_the_wire(text, {"inputs": inputs, "outputs": [{"name": "mean"}]})
    assert [one["name"] for one in named["outputs"]] == ["mean"]


def test_what_is_told_of_it(text: RowHandler) -> None:
    described = text.describe_handle()
    assert described["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert [one["name"] for one in described["outputs"]] == ["mean", "words"]
    assert described["outputs"][1] == {"name": "words", "datatype": "INT64", "shape": [-1, -1]}
    assert {"independent_rows", "ragged_rows"} <= set(described["extensions"])


def test_each_row_at_fault_is_named(text: RowHandler) -> None:
    error = refusal(text, v1("a b", "", "word " * 17, b"\xff\xfe", "x" * 100, 7))
    assert error.rows == {
        1: "it has no values",
        2: "length 17 is more than 16",
        3: "bytes that are not UTF-8 text",
        4: "value 100 is not from 0 to 99",
        5: "not text",
    }


def test_a_handlers_own_errors_name_the_clients_rows(tmp_path: Path) -> None:
    class Strict(Text):
        def encode(self, spec: InputSpec, values: Sequence[Any], parameters: Any) -> List[np.ndarray[Any, Any]]:
            bad = {row: "no word" for row, text in enumerate(values) if text == "?"}
            if bad:
                raise RequestError(400, "some", bad)
            return super().encode(spec, values, parameters)

    handler = serve(tmp_path, Strict)
    error = refusal(handler, v1("a", b"\xff", "?", "b", "?"))
    assert sorted(error.rows) == [1, 2, 4]


WORDS = st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=16).map(" ".join)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=3), min_size=1, max_size=4))
def test_together_as_alone(requests: List[List[str]]) -> None:
    handler = _text()
    together = ask(handler, *(v1(*rows) for rows in requests))
    for rows, answer in zip(requests, together):
        alone = ask_one(handler, v1(*rows))
        assert isinstance(answer, Answer)
        np.testing.assert_allclose(np.asarray(answer.outputs["mean"]), np.asarray(alone.outputs["mean"]), rtol=1e-6)
        lengths = [len(row.split()) for row in rows]
        for one in (answer, alone):
            words = one.outputs["words"]
            assert words.values.shape == (len(rows), max(lengths))  # type: ignore[union-attr]
            assert words.by_row() == [[len(word) for word in row.split()] for row in rows]  # type: ignore[union-attr]


_made: List[RowHandler] = []


def _text() -> RowHandler:
    if not _made:
        handler = Text()
        handler.initialize(make_context(Path("."), {"max_batch_size": 8}))
        _made.append(handler)
    return _made[0]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=9), st.sampled_from([(), (4, 8, 32)]))
def test_padding_keeps_every_value(lengths: List[int], buckets: Any) -> None:
    rows = [np.arange(1, length + 1, dtype=np.float32) + 100 * row for row, length in enumerate(lengths)]
    spec = InputSpec("a", "FP32", (-1,), pad=-7, buckets=buckets)
    chunks = ragged(rows, PREPROCESSED)
    padded = pad_rows(chunks, spec)
    assert row_lengths(chunks).tolist() == lengths
    for row, wanted in zip(padded, rows):
        assert row[: len(wanted)].tolist() == wanted.tolist()
        assert set(row[len(wanted) :].tolist()) <= {-7}
    assert padded.shape[1] in (buckets or [max(lengths)])


@pytest.mark.parametrize(("compile", "length"), [("none", 5), pytest.param("torchscript", 8, marks=needs_torchscript)])
def test_buckets_are_filled_where_the_model_would_prepare_itself_for_each_length(
    compile: str, length: int, tmp_path: Path
) -> None:
    class Sums(RowHandler):
        inputs = (InputSpec("ids", "INT64", (-1,), pad=0, buckets=(4, 8)),)
        classifies = False

        def load(self, context: Any) -> Any:
            class Model(torch.nn.Module):
                def forward(self, ids: torch.Tensor) -> torch.Tensor:
                    return ids.sum(1)

            return Model()

    handler = serve(tmp_path, Sums, compile=compile)
    rows = {"ids": ragged([np.arange(5), np.arange(2)], PREPROCESSED)}
    assert [tuple(one.shape) for one in handler.preprocess([rows])] == [(2, length)]
    assert np.asarray(ask_one(handler, v1([1, 2, 3, 4, 5], [6])).outputs["predict"]).tolist() == [15, 6]


class Ragged(RowHandler):
    inputs = (InputSpec("signal", "FP32", (-1,), pad=0, companion="lengths"),)
    classifies = False

    def load(self, context: Any) -> Any:
        return lambda rows, lengths: rows.sum(1) / lengths


def test_ragged_numbers_by_either_protocol(tmp_path: Path) -> None:
    handler = serve(tmp_path, Ragged)
    answers = ask(handler, v1([1, 2, 3], [4]), v2(np.array([[2.0, 4.0]])), v1([1, "x"]))
    assert np.asarray(answers[0].outputs["predict"]).tolist() == [2, 4]  # type: ignore[union-attr]
    assert np.asarray(answers[1].outputs["predict"]).tolist() == [3]  # type: ignore[union-attr]
    assert isinstance(answers[2], RequestError)


def test_padding_that_changes_answers_ends_the_load(tmp_path: Path) -> None:
    class Mean(Ragged):
        inputs = (InputSpec("signal", "FP32", (-1,), pad=0),)

        def load(self, context: Any) -> Any:
            return lambda rows: rows.mean(1)

    with pytest.raises(LoadError, match="changes with what fills it up"):
        serve(tmp_path, Mean)
    Mean.independent_rows = False
    assert "ragged_rows" not in serve(tmp_path, Mean).describe_handle()["extensions"]


class Detector(RowHandler):
    """As torchvision's detectors answer: a list with a dict a row, of as many boxes as were found."""

    inputs = (InputSpec("counts", "INT64", ()),)
    outputs = (OutputSpec("boxes", "FP32", (-1, 4)), OutputSpec("scores", "FP16", (-1,)))

    def load(self, context: Any) -> Any:
        return lambda counts: [
            {"scores": torch.arange(n).bfloat16(), "boxes": torch.full((n, 4), float(n))} for n in counts.tolist()
        ]


def test_a_list_by_row_with_rows_of_unequal_size(tmp_path: Path) -> None:
    handler = serve(tmp_path, Detector, max_batch_size=2)
    predictions = over_the_wire(handler, {"instances": [2, 0, 1]})["predictions"]
    assert [len(row["boxes"]) for row in predictions] == [2, 0, 1]
    assert predictions[0] == {"boxes": [[2.0] * 4] * 2, "scores": [0.0, 1.0]}
    answer = ask_one(handler, v2(np.array([1, 0])))
    assert answer.outputs["scores"].values.dtype == np.float16  # type: ignore[union-attr]
    assert answer.outputs["boxes"].values.shape == (2, 1, 4)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda counts: {"boxes": counts}, "the model gave no output 'scores', only boxes"),
        (lambda counts: (counts,), "gave 1 outputs, not the 2 declared: boxes, scores"),
        (lambda counts: "text", "the model gave a str"),
    ],
)
def test_outputs_that_are_not_as_declared_end_the_load(model: Any, words: str, tmp_path: Path) -> None:
    class Wrong(Detector):
        def load(self, context: Any) -> Any:
            return model

    with pytest.raises(LoadError, match=words):
        serve(tmp_path, Wrong)


class Segmenter(RowHandler):
    inputs = (InputSpec("a", "FP32", (2, 2)),)
    outputs = (OutputSpec("mask", "INT64", (2, 2)), OutputSpec("low", "FP32", (2, 2)), OutputSpec("on", "BOOL", ()))

    def load(self, context: Any) -> Any:
        class Model(torch.nn.Module):
            def forward(self, a: torch.Tensor) -> Any:
                return (a > 0).long(), a.bfloat16(), a.sum((1, 2)) > 0

        return Model()


def test_masks_bfloat16_and_booleans(tmp_path: Path) -> None:
    handler = serve(tmp_path, Segmenter)
    answer = ask_one(handler, v1([[1, -1], [2, 0]], [[-1, 0], [0, 0]]))
    assert np.asarray(answer.outputs["mask"]).tolist() == [[[1, 0], [1, 0]], [[0, 0], [0, 0]]]
    assert np.asarray(answer.outputs["low"]).dtype == np.float32
    assert np.asarray(answer.outputs["on"]).tolist() == [True, False]
    assert handler._mode == AUTO


class Chosen(RowHandler):
    inputs = (InputSpec("a", "FP32", (3,)),)
    parameters = (
        DeclaredParameter("threshold", float, 0.5, low=0, high=1, text="the least score that counts"),
        DeclaredParameter("unit", str, "m", choices=("m", "km")),
        DeclaredParameter("most", int, 3, low=1),
    )

    def postprocess(self, data: Any, **parameters: Any) -> Any:
        calls.append((len(data), parameters))
        least, most = parameters["threshold"], parameters["most"]
        return [[f"{value:g}{parameters['unit']}" for value in row if value >= least][:most] for row in data.tolist()]


calls: List[Any] = []


def test_declared_parameters_reach_the_handler(tmp_path: Path) -> None:
    handler = serve(tmp_path, Chosen)
    calls.clear()
    answers = ask(
        handler,
        v1([0, 0.5, 1]),
        v1([0.25, 0.5, 1], threshold=0, unit="km"),
        v1([1, 1, 1], [0, 0, 1]),
        v1([1, 1, 1], most=1, threshold=0.0),
    )
    found = [one.outputs["predict"] for one in answers]  # type: ignore[union-attr]
    assert found == [[["0.5m", "1m"]], [["0.25km", "0.5km", "1km"]], [["1m", "1m", "1m"], ["1m"]], [["1m"]]]
    assert [size for size, _ in calls] == [3, 1, 1]


def test_declared_parameters_are_told_and_checked(tmp_path: Path) -> None:
    handler = serve(tmp_path, Chosen)
    assert handler.describe_handle()["parameters"] == [
        {
            **{"name": "threshold", "datatype": "FP64", "default": 0.5, "minimum": 0, "maximum": 1},
            "description": "the least score that counts",
        },
        {"name": "unit", "datatype": "BYTES", "default": "m", "choices": ["m", "km"]},
        {"name": "most", "datatype": "INT64", "default": 3, "minimum": 1},
    ]
    for parameters, words in (
        ({"threshold": 2}, "parameter threshold: 2 is not a number from 0 to 1"),
        ({"threshold": float("nan")}, "parameter threshold: nan is not"),
        ({"threshold": True}, "parameter threshold: True is not a number from 0 to 1"),
        ({"unit": "mile"}, "parameter unit: 'mile' is not one of m, km"),
        ({"most": 1.0}, "parameter most: 1.0 is not a whole number of at least 1"),
        ({"threshold": 10**400}, "is not a number from 0 to 1"),
        ({"most": 10**30}, "is not a whole number"),
        ({"other": 1}, "unknown parameter 'other'"),
    ):
        assert words in refusal(handler, v1([1, 2, 3], **parameters)).message


def test_inference_and_encode_get_them_too(tmp_path: Path) -> None:
    class Scaled(Text):
        parameters = (DeclaredParameter("factor", int, 1), DeclaredParameter("letters", bool, True))
        outputs = (OutputSpec("mean", "FP32", ()),)

        def encode(self, spec: InputSpec, values: Sequence[Any], parameters: Any) -> List[np.ndarray[Any, Any]]:
            return super().encode(spec, values if parameters["letters"] else ["1"] * len(values), parameters)

        def inference(self, data: Any, *args: Any, **parameters: Any) -> Any:
            return self.model(*data)["mean"] * parameters["factor"]

    handler = serve(tmp_path, Scaled)
    answers = ask(handler, v1("abc"), v1("abc", factor=10), v1("abc", letters=False, factor=2))
    assert [np.asarray(one.outputs["mean"]).tolist() for one in answers] == [[3], [30], [2]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        (DeclaredParameter("top_k", int, 1), "parameter 'top_k' is there already"),
        (DeclaredParameter("two words", int, 1), "its name must be a Python name"),
        (DeclaredParameter("one", list, 1), "its kind bool, int, float or str"),
        (DeclaredParameter("one", int, 5, high=4), "its default: parameter one: 5 is not a whole number of at most 4"),
    ],
)
def test_parameters_that_make_no_sense_end_the_load(parameter: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        serve(tmp_path, type("Own", (Chosen,), {"parameters": (parameter,)}))


# --- TorchServe's own ways


class Numbers(RowHandler):
    inputs = (InputSpec("a", "FP32", (3,)),)


def test_postprocess_as_torchserve_teaches_it(tmp_path: Path) -> None:
    class Own(Numbers):
        def postprocess(self, data: Any) -> Any:
            return [{"class": one} for one in data.argmax(1).tolist()]

    handler = serve(tmp_path, Own)
    first, second = ask(handler, v1([1, 2, 3], [3, 2, 1]), v1([1, 9, 1]))
    assert first.outputs["predict"] == [{"class": 2}, {"class": 0}]  # type: ignore[union-attr]
    assert second.outputs["predict"] == [{"class": 1}]  # type: ignore[union-attr]
    assert "no explanations" in refusal(handler, v1([1, 2, 3], explain=True)).message


def test_inference_as_torchserve_teaches_it(tmp_path: Path) -> None:
    class Own(Numbers):
        def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
            return self.model(data.to(self.device)) * -1

    handler = serve(tmp_path, Own)
    assert np.asarray(ask_one(handler, v1([1, 2, 3])).outputs["predict"]).tolist() == [0]


def test_postprocess_may_go_on_with_the_classes(tmp_path: Path) -> None:
    class Own(Numbers):
        def postprocess(self, data: Any) -> Any:
            return super().postprocess(-data)

    handler = serve(tmp_path, Own)
    answer = ask_one(handler, v1([1, 2, 3], probabilities=True))
    assert np.asarray(answer.outputs["predict"]).tolist() == [0]
    assert np.asarray(answer.outputs["probabilities"]).shape == (1, 3)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda data: None, "postprocess: .* returned a NoneType for predict"),
        (lambda data: [1, 2, 3], "postprocess: .* 3 items of predict for 1 rows"),
        (lambda data: data.no_such_thing, "postprocess: the first row has no answer: AttributeError"),
    ],
)
def test_postprocess_that_gives_no_rows_ends_the_load(made: Any, words: str, tmp_path: Path) -> None:
    class Own(Numbers):
        def postprocess(self, data: Any) -> Any:
            return made(data)

    with pytest.raises(LoadError, match=words):
        serve(tmp_path, Own)


def test_a_load_that_exits_is_an_error_with_words(tmp_path: Path) -> None:
    """Else the worker would end without any."""

    class Own(Numbers):
        def load(self, context: Any) -> Any:
            sys.exit("no licence")

    with pytest.raises(LoadError, match=r"Own calls sys.exit\('no licence'\) while it loads"):
        serve(tmp_path, Own)


@pytest.mark.parametrize("name", sorted(INSTEAD))
def test_what_would_never_be_called_ends_the_load(name: str, tmp_path: Path) -> None:
    kind = type("Own", (Numbers,), {name: lambda self, data, context=None: data, "__module__": "theirs"})
    with pytest.raises(ConventionError, match=f"Own overrides {name}, which .*: .*(override|declare|Captum|set)"):
        serve(tmp_path, kind)


def test_a_function_is_not_compiled(tmp_path: Path) -> None:
    assert serve(tmp_path, Ragged)._mode == "none"
    with pytest.raises(ConfigError, match="compiles modules; this model is a function"):
        serve(tmp_path, Ragged, compile="torchscript")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (InputSpec("a", "FP32", (3,), pad=0), "pad needs rows of any length"),
        (InputSpec("a", "FP32", (-1,), buckets=(2,)), "buckets and companion need pad"),
        (InputSpec("a", "FP32", (-1,), pad=0, buckets=(4, 2)), "buckets must be lengths in rising order"),
        (InputSpec("a", "FP32", (-1,), pad=0, companion="sizes"), "companion 'sizes' is neither"),
        (InputSpec("a", "BYTES", ()), "so say what it becomes"),
    ],
)
def test_inputs_that_make_no_sense_end_the_load(spec: InputSpec, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        serve(tmp_path, type("Own", (RowHandler,), {"inputs": (spec,)}))


def test_several_inputs_of_which_one_is_text(tmp_path: Path) -> None:
    class Both(Text):
        inputs = (*Text.inputs, InputSpec("scale", "FP32", ()))
        outputs = (OutputSpec("scaled", "FP64", ()),)

        def load(self, context: Any) -> Any:
            return lambda ids, mask, scale: (ids * mask).sum(1) * scale

    handler = serve(tmp_path, Both)
    inputs = [("text", InputValues(["a bb", "ccc"])), ("scale", InputValues(np.array([2.0, 3.0])))]
    assert np.asarray(ask_one(handler, Request(inputs)).outputs["scaled"]).tolist() == [6.0, 9.0]
