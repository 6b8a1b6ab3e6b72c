"""The life of a batch in the worker: decode, preprocess, inference or explain, postprocess.

``RowHandler`` serves any model whose inputs and output have the rows in dimension 0. A subclass says what its inputs
are; ``ImageClassifier`` is the first of them.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import nn
from ts.torch_handler.base_handler import BaseHandler

from mnist_handler import describe
from mnist_handler.compute.ahead import NotCompiled, compile_ahead
from mnist_handler.compute.device import end_if_lost, leaves_processors, pick_device, set_tf32, set_threads
from mnist_handler.compute.engine import InferenceResult, Plan, is_out_of_memory
from mnist_handler.compute.lengths import ByLength, fit_lengths, takes_any_length
from mnist_handler.compute.loading import Function, LoadError, load_labels, load_model
from mnist_handler.compute.memory import give_back
from mnist_handler.compute.pt2_options import apply_pt2
from mnist_handler.compute.runtime import build_runtime
from mnist_handler.compute.verify import TOLERANCES, as_tuple
from mnist_handler.config import ConfigError, HandlerConfig, parse_config, warm_up_limit
from mnist_handler.conventions import check_conventions, overridden
from mnist_handler.envelopes.batch import WireEnvelope, failure
from mnist_handler.envelopes.worker_context import asks_description
from mnist_handler.explain.attributions import DEFAULT_METHOD
from mnist_handler.explain.explanations import Explanations, Unexplainable, build_explanations
from mnist_handler.explain.requests import ExplainJob, explain_jobs
from mnist_handler.explain.targets import Classes, read_targets, split_targets
from mnist_handler.inputs import arrays, samples
from mnist_handler.inputs.checks import check_bounds, check_continued, check_names, check_specs
from mnist_handler.inputs.collate import check_lengths, mask_of, pad_rows, ragged, row_lengths
from mnist_handler.inputs.encoding import encoded
from mnist_handler.inputs.parameters import (
    PREDICT_KEYS,
    DeclaredParameter,
    PredictOptions,
    RequestParameters,
    check_declared,
    collect,
    explain_options,
    predict_options,
    read_declared,
)
from mnist_handler.inputs.spec import PREPROCESSED, Chunk, InputSpec, Rows, by_encoding, count, places, stack
from mnist_handler.outputs import Answers, Declared, OutputSpec, check_column, to_answer
from mnist_handler.predictions import Predictions, Scores, TwoClasses, two_classes
from mnist_handler.requests import Answer, InputValues, Request, RequestError, row_error
from mnist_handler.telemetry import Meter, Stopwatch, rate_limit

logger = logging.getLogger(__name__)

Result = Union[Answer, RequestError]


@dataclass
class PredictJob:
    """A request to predict: place in TorchServe's batch, rows, options; ``start`` is its first row in the batch."""

    index: int
    request: Request
    rows: Rows
    size: int
    options: PredictOptions
    start: int = 0
    #: Values of the handler's own parameters.
    own: Dict[str, Any] = dataclasses.field(default_factory=dict)


Job = Union[PredictJob, ExplainJob]


class RowHandler(BaseHandler):  # type: ignore[misc]
    """Base of handlers: one TorchServe worker's model, from requests to answers.

    A subclass sets ``inputs`` and overrides, in this order of use, what its model needs: ``load`` (the model),
    ``encode`` (text to numbers), ``outputs`` (what it gives beside classes), ``postprocess`` and ``inference`` (as
    TorchServe teaches them), ``decode_input``, ``prepare`` and ``setup``::

        class Sentiment(RowHandler):
            ids = InputSpec("ids", "INT64", (-1,), pad=0, companion="mask")
            inputs = (InputSpec("text", "BYTES", (), becomes=ids),)

            def setup(self, context):
                self.words = json.loads((self.directory / "words.json").read_text())

            def encode(self, spec, texts, parameters):
                return [np.array([self.words.get(word, 1) for word in text.split()]) for text in texts]
    """

    #: Tells the envelopes that ``handle`` reads and writes wire forms itself.
    handles_raw_requests = True
    #: What the model takes, in the order of its ``forward``; shapes are a row's.
    inputs: Tuple[InputSpec, ...] = ()
    #: Whether scores are of classes, [rows, classes]: then answers are labels. One score a row is the logit of class 1
    #: beside class 0. Else answers are the scores.
    classifies = True
    #: What the model gives where that is not scores of classes: a tensor, a tuple in this order, a dict by these names,
    #: or a list with one of those a row. Empty: the only output ``predict``.
    outputs: Tuple[OutputSpec, ...] = ()
    #: Parameters of a request beside the ones that all handlers know. Requests of other values go in batches of their
    #: own, and ``encode``, ``inference`` and ``postprocess`` get them by name.
    parameters: Tuple[DeclaredParameter, ...] = ()
    #: Rows that are decoded side by side.
    _decoded_together = 1
    #: Whether ragged rows are filled up to their input's buckets.
    _to_buckets = True
    #: Whether Captum can take gradients with respect to the inputs.
    explainable = True
    #: Whether a row's answer is the same whatever rows are beside it. Then the wrapper lets clients share batches; a
    #: subclass whose rows see each other sets False.
    independent_rows = True
    #: Names of the request headers that this handler reads: each ``Request.headers`` has those that came.
    request_headers: Tuple[str, ...] = ()

    def initialize(self, context: Any) -> None:
        """Load, compile and warm up the model of the archive; the worker is ready when this returns.

        Raises:
            ConfigError, LoadError: the archive cannot be served; the message says what to change.
        """
        try:
            self._load(context)
            self._build(self.config, warm_up_limit(self.config, context.model_yaml_config))
        except SystemExit as ended:
            # It would end the worker without a word.
            raise LoadError(f"{type(self).__name__} calls sys.exit({ended.code!r}) while it loads") from ended
        rate_limit(self.config.metrics_interval)
        self._meter = Meter(self.config.metrics_interval) if self.config.metrics else None
        self._metadata = describe.metadata(self._facts(context))
        self.initialized = True
        give_back()
        threads = torch.get_num_threads()
        logger.info("%s on %s, %d threads an operator, %s", type(self).__name__, self.device, threads, self._mode)

    def compile_ahead(self, context: Any, target: Path, instructions: str) -> None:
        """Compile the archive's model into ``target`` instead of serving it; for whoever builds the archive.

        Args:
            instructions: the processors that it is for, see :mod:`mnist_handler.compute.processor`.

        Raises:
            NotCompiled, Mismatch: see :func:`mnist_handler.compute.ahead.compile_ahead`.
            ConfigError, LoadError: as ``initialize``.
        """
        self._load(context)
        self._to_buckets = False  # the package is for any length
        model, config, _ = self._served(self.config)
        if config.compile not in ("auto", "ahead"):
            raise NotCompiled(f"handler.compile is {config.compile}, or the model is a function")
        compile_ahead(model, self.inputs, self.example, target, config.precision, instructions)

    def _load(self, context: Any) -> None:
        """All but the compiling: settings, device, labels, model, ``setup``."""
        properties = context.system_properties
        self.context = context
        self.manifest = context.manifest
        check_conventions(type(self), RowHandler)
        own = overridden(type(self), RowHandler)
        self._own_inference, self._own_postprocess = "inference" in own, "postprocess" in own
        check_specs(self.inputs)
        check_declared(self.parameters)
        self._predict_keys = PREDICT_KEYS.union(one.name for one in self.parameters)
        settings = context.model_yaml_config or {}
        self.config = apply_pt2(parse_config(settings.get("handler")), settings)
        self.device = pick_device(properties.get("gpu_id"))
        set_threads(self.config.intra_op_threads)
        set_tf32(self.device, self.config.tf32)
        self.directory = Path(properties.get("model_dir"))
        self.labels = load_labels(self.directory / "index_to_name.json")
        self.model = self._place(self.load(context))
        self.setup(context)

    def load(self, context: Any) -> Any:
        """The model, for ``self.device``: a module in eval mode, or any callable from tensors to tensors.

        Here: the archive's model file with its state_dict, or its TorchScript. A subclass reads what it likes out of
        ``self.directory``, the unpacked archive::

            def load(self, context):
                return transformers.AutoModel.from_pretrained(self.directory).to(self.device).eval()
        """
        return load_model(self.directory, self.manifest, self.device)

    def setup(self, context: Any) -> None:
        """What a subclass prepares once the model, the device and the config are there."""

    def handle(self, data: List[Dict[str, Any]], context: Any) -> List[Any]:
        """TorchServe's entry point: one answer for each of its requests, in order."""
        if asks_description(data, context):
            return [self.describe_handle()]
        return list(WireEnvelope(self.answer, self.request_headers).handle(data, context))

    def describe_handle(self) -> Dict[str, Any]:
        """The V2 model metadata, with ``extensions``: what this handler understands beyond a stock one."""
        return self._metadata

    def _facts(self, context: Any) -> describe.ModelFacts:
        model = context.manifest.get("model", {})
        script = isinstance(self.model, torch.jit.ScriptModule)
        return describe.ModelFacts(
            name=str(context.model_name or model.get("modelName")),
            version=str(model.get("modelVersion", "1.0")),
            platform="pytorch_torchscript" if script else "pytorch_eager",
            inputs=self.inputs,
            classes=self.classes if self.classifies else None,
            labels=None if self.labels is None else tuple(self.labels),
            score_shape=self.score_shape,
            explained=tuple(one.spec.tensor.shape for one in self._explanations.inputs) if self._explanations else (),
            methods=tuple(self._explanations.methods) if self._explanations else (),
            independent_rows=self.independent_rows,
            outputs=() if self._own_postprocess else self.outputs,
            parameters=self.parameters,
            request_headers=tuple(name.lower() for name in self.request_headers),
            preferred_batch_size=self._engine.best_size and max(self._engine.best_size, self._decoded_together),
        )

    def answer(self, requests: List[Request], context: Any) -> List[Result]:
        """Answer a batch; requests that cannot be answered get their own error, the others their answer.

        Raises:
            MemoryError: the batch as a whole does not fit, be it on the device.
            SystemExit: the device can do nothing more, see :func:`end_if_lost`.
        """
        watch = Stopwatch()
        results: Dict[int, Result] = {}
        jobs = self._decode_all(requests, results)
        watch.lap("Decode")
        if jobs:
            try:
                for alike in self._alike(jobs):
                    self._compute(alike, results, watch)
            except Exception as error:
                end_if_lost(self.device)
                if is_out_of_memory(error):
                    raise MemoryError(str(error)) from error
                raise
        answers = [results[index] for index in range(len(requests))]
        if self._meter is not None:
            failed = sum(isinstance(one, RequestError) for one in answers)
            self._meter.add(watch, len(requests), sum(job.size for job in jobs), failed, context.metrics)
        return answers

    # --- the five verbs --------------------------------------------------------------------------------------------

    def decode(self, inputs: Sequence[Tuple[str, InputValues]], asked: RequestParameters) -> Rows:
        """A request's blocks as rows by input; raises RequestError naming the rows at fault.

        The only input of a model may have any name and come several times (see ``check_continued``): the rows follow
        each other. Several inputs go by their names, with equally many rows; each once, but for those that are filled
        up, whose rows may follow each other in tensors of unequal lengths.
        """
        if len(self.inputs) == 1:
            return {self.inputs[0].name: self._decode_blocks(self.inputs[0], [block for _, block in inputs], asked)}
        repeatable = [spec.name for spec in self.inputs if spec.tensor.pad is not None]
        check_names([name for name, _ in inputs], [spec.name for spec in self.inputs], repeatable)
        blocks: Dict[str, List[InputValues]] = {}
        for name, block in inputs:
            blocks.setdefault(name, []).append(block)
        rows = {spec.name: self._decode_blocks(spec, blocks[spec.name], asked) for spec in self.inputs}
        sizes = {name: count(chunks) for name, chunks in rows.items()}
        if len(set(sizes.values())) != 1:
            raise RequestError(400, f"the inputs have unequally many rows: {sizes}")
        return rows

    def decode_input(
        self, spec: InputSpec, block: InputValues, asked: RequestParameters, first_row: int, faults: Dict[int, str]
    ) -> List[Chunk]:
        """One block's rows; puts what is wrong with single rows into ``faults``. Here: numbers of ``spec``'s datatype.

        Raises:
            arrays.TensorError: the block as a whole cannot be rows of ``spec``.
        """
        if spec.becomes is not None:
            own = read_declared(self.parameters, asked.common)
            return encoded(spec, block, first_row, faults, lambda values: self.encode(spec, values, own))
        if not isinstance(block.values, np.ndarray):
            if spec.pad is not None:
                made = arrays.ragged_rows(block.values, spec.shape, spec.datatype, first_row, faults)
                return ragged(made, PREPROCESSED)
            return [Chunk(PREPROCESSED, arrays.list_rows(block.values, spec.shape, spec.datatype, first_row, faults))]
        rows = arrays.split_rows(block.values, spec.shape)
        return [Chunk(PREPROCESSED, arrays.cast(rows, spec.datatype, first_row, faults))]

    def encode(
        self, spec: InputSpec, values: Sequence[Any], parameters: Mapping[str, Any]
    ) -> Sequence[np.ndarray[Any, Any]]:
        """Values of an input that ``becomes`` another as the arrays it becomes, one a value, each of that row shape.

        Args:
            values: text (``str``) of a BYTES input, else what clients sent.
            parameters: of ``self.parameters``, by name.

        Raises:
            RequestError: 400; with ``rows``, counted from 0 within ``values``, for single values.
        """
        raise LoadError(f"{type(self).__name__} has an input, {spec.name}, that becomes another, and no encode")

    def tokens(self, spec: InputSpec, ids: np.ndarray[Any, Any]) -> Optional[Sequence[str]]:
        """Words for the ids of one row of an input with an embedding, one each: they stand beside its attributions."""
        return None

    def pictures(self, spec: InputSpec, rows: torch.Tensor) -> Optional[np.ndarray[Any, Any]]:
        """What rows look like, uint8 [rows, height, width, 3], beneath the heat maps of ``"format": "png"``.

        Args:
            rows: as the model takes them.
        """
        return None

    def preprocess(self, decoded: Sequence[Rows]) -> Tuple[torch.Tensor, ...]:
        """The rows of all requests as the model's inputs on the device: a stack and a transfer for each encoding."""
        tensors: List[torch.Tensor] = []
        with torch.inference_mode():
            for spec in self.inputs:
                chunks = [chunk for rows in decoded for chunk in rows[spec.name]]
                tensors.extend(self.collate(spec, chunks))
        return tuple(tensors)

    def collate(self, spec: InputSpec, chunks: List[Chunk]) -> Tuple[torch.Tensor, ...]:
        """One input's rows of all requests as the model's arguments: the rows, filled up where ``spec`` says so, and
        their mask or lengths where it wants them.
        """
        tensor = spec.tensor
        if tensor.pad is None:
            return (self._merge(spec, chunks),)
        whole = Chunk(PREPROCESSED, pad_rows(chunks, tensor, self._to_buckets))
        rows = self.prepare(spec, PREPROCESSED, stack([whole], self.device))
        if tensor.companion is None:
            return (rows,)
        lengths = row_lengths(chunks)
        beside = lengths if tensor.companion == "lengths" else mask_of(lengths, rows.shape[1])
        return rows, torch.from_numpy(beside).to(self.device)

    def prepare(self, spec: InputSpec, encoding: str, rows: torch.Tensor) -> torch.Tensor:
        """Rows of one encoding, on the device, as the model takes them."""
        return rows

    def inference(
        self, data: Sequence[torch.Tensor], plan: Optional[Plan] = None, **parameters: Any
    ) -> InferenceResult:
        """Scores of all rows; rows that do not fit into memory are named in the outcome.

        Args:
            plan: how rows of unequal lengths go in sub-batches. An override gets but what it shall answer at once.
        """
        return self._engine.run(data, plan=plan)

    def postprocess(self, data: Any, **parameters: Any) -> Any:
        """A batch's scores, ready to be cut into answers.

        An override gets what the model gave for all rows of a batch, and returns a list with one JSON-serialisable item
        a row, an array or a tensor [rows, …], or a dict of those by names of outputs::

            def postprocess(self, data):
                return data.argmax(1).tolist()
        """
        if not self.classifies:
            return Scores(data)
        return Predictions(two_classes(data) if self._one_logit else data, self.labels)

    # --- what the verbs are made of ----------------------------------------------------------------------------------

    def _decode_all(self, requests: List[Request], results: Dict[int, Result]) -> List[Job]:
        """Jobs that need a prediction first, in a row; explanations whose every target is given come last."""
        jobs: List[Job] = []
        for index, request in enumerate(requests):
            try:
                jobs.append(self._decode_request(index, request))
            except Exception as error:
                # Whatever goes wrong with one request's content is no matter of its neighbours.
                results[index] = failure(error)
        return jobs

    def _alike(self, jobs: List[Job]) -> List[List[Job]]:
        """Jobs that go through the model together, those of the same parameters; each gets its place among them."""
        groups: Dict[Any, List[Job]] = {}
        for job in jobs:
            own = tuple(job.own.items()) if self.parameters and isinstance(job, PredictJob) else None
            groups.setdefault(own, []).append(job)
        for group in groups.values():
            group.sort(key=lambda job: isinstance(job, ExplainJob) and job.targets_known)
            start = 0
            for job in group:
                job.start, start = start, start + job.size
        return list(groups.values())

    def _decode_request(self, index: int, request: Request) -> Job:
        inputs, targets = split_targets(request)
        if len(inputs) > 1 and len(self.inputs) == 1:
            if request.by_row:
                check_names([name for name, _ in inputs], [self.inputs[0].name])
            else:
                any_form = type(self).decode_input is not RowHandler.decode_input
                check_continued(inputs, self.inputs[0], any_form)
        if not request.explain:
            asked = collect(request, self._predict_keys)
            own = read_declared(self.parameters, asked.common)
            options = predict_options(asked, self.classes if self.classifies else None)
            rows = self.decode(inputs, asked)
            return PredictJob(index, request, rows, self._size(rows), options, own=own)
        known = self._explanations
        if known is None:
            raise RequestError(400, f"this model has no explanations: {self._unexplainable}")
        asked = collect(request, self._explain_keys)
        how = explain_options(asked, known.methods, DEFAULT_METHOD, known.row_shapes, self.parameters)
        rows = self.decode(inputs, asked)
        size = self._size(rows)
        chosen = read_targets(asked, targets, size, Classes(self.classes, self.labels))
        if not self.classifies and None in chosen:
            raise RequestError(400, f"this model predicts no class to explain: give a target, 0 to {self.classes - 1}")
        return ExplainJob(index, request, rows, size, how, chosen)

    def _size(self, rows: Rows) -> int:
        size = count(rows[self.inputs[0].name])
        if size == 0:
            raise RequestError(400, "no rows")
        return size

    def _decode_blocks(self, spec: InputSpec, blocks: List[InputValues], asked: RequestParameters) -> List[Chunk]:
        chunks: List[Chunk] = []
        faults: Dict[int, str] = {}
        for block in blocks:
            try:
                first = count(chunks)
                made = self.decode_input(spec, block, asked, first, faults)
                wrong = {**check_bounds(spec.tensor, made, first), **check_lengths(spec.tensor, made, first)}
                for row, fault in wrong.items():
                    faults.setdefault(row, fault)  # zeros stand where a row is at fault already
                chunks.extend(made)
            except arrays.TensorError as error:
                raise RequestError(400, f"input {spec.name}: {error}") from error
        if faults:
            named = f"input {spec.name}: " if len(self.inputs) > 1 else ""
            raise row_error({row: named + text for row, text in faults.items()})
        return chunks

    def _merge(self, spec: InputSpec, chunks: List[Chunk]) -> torch.Tensor:
        ready = {
            encoding: self.prepare(spec, encoding, stack(some, self.device))
            for encoding, some in by_encoding(chunks).items()
        }
        if len(ready) == 1:
            return next(iter(ready.values()))
        joined = torch.cat(list(ready.values()))
        order = [place for encoding in ready for place in places(chunks, encoding)]
        whole = torch.empty_like(joined)
        whole[torch.tensor(order, device=self.device)] = joined
        return whole

    def _compute(self, jobs: List[Job], results: Dict[int, Result], watch: Stopwatch) -> None:
        tensors = self.preprocess([job.rows for job in jobs])
        watch.lap("Preprocess")
        first = [job for job in jobs if not (isinstance(job, ExplainJob) and job.targets_known)]
        failed: Dict[int, str] = {}
        predictions: Any = None
        if first:
            rows = first[-1].start + first[-1].size
            inputs = [tensor[:rows] for tensor in tensors]
            own = jobs[0].own if isinstance(jobs[0], PredictJob) else read_declared(self.parameters, {})
            plan = self._plan([job.rows for job in first])
            if self._own_inference:
                outcome = self._engine.run(inputs, self._called(own), plan)
            else:
                outcome = self.inference(inputs, plan)
            failed = outcome.failed
            if outcome.scores is not None:
                predictions = self._ready(outcome.scores, self._lengths([job.rows for job in first]), own)
            watch.lap("Inference")
        explains = []
        for job in jobs:
            faults = {row - job.start: failed[row] for row in failed if 0 <= row - job.start < job.size}
            if faults:
                results[job.index] = row_error(faults, 507)
            elif isinstance(job, ExplainJob):
                explains.append(job)
            elif predictions is not None:
                results[job.index] = self._predict_answer(job, predictions)
        watch.lap("Postprocess")
        if explains and self._explanations is not None:
            explain_jobs(self._explanations, explains, tensors, predictions, results)
            watch.lap("Explain")

    def _plan(self, decoded: Sequence[Rows]) -> Optional[Plan]:
        """How rows are cut into sub-batches of like lengths; None where all go together."""
        if self._by_length is None:
            return None
        padded = [spec.name for spec in self.inputs if spec.tensor.pad is not None]
        columns = [row_lengths([chunk for rows in decoded for chunk in rows[name]]) for name in padded]
        return self._by_length.plan(np.stack(columns, axis=1), self._engine.limit)

    def _called(self, own: Mapping[str, Any]) -> nn.Module:
        """A subclass's ``inference`` as a model, with a request's own parameters."""
        model = Function(lambda *data: self.inference(data if len(data) > 1 else data[0], **own))
        return Declared(model, self.outputs) if self.outputs else model

    def _ready(self, scores: Any, lengths: Dict[str, np.ndarray[Any, Any]], own: Mapping[str, Any]) -> Any:
        """A batch's scores, ready to be cut: by :func:`to_answer` where ``postprocess`` is the subclass's."""
        if self._own_postprocess:
            names = [spec.name for spec in self.outputs]
            given = dict(zip(names, scores)) if isinstance(scores, tuple) and len(names) > 1 else as_tuple(scores)[0]
            return self.postprocess(given, **own)
        return Answers(self.outputs, as_tuple(scores), lengths) if self.outputs else self.postprocess(scores)

    def _lengths(self, decoded: Sequence[Rows]) -> Dict[str, np.ndarray[Any, Any]]:
        """Lengths of the rows of each input that an output's rows are as long as."""
        wanted = {spec.like for spec in self.outputs}
        inputs = [spec.name for spec in self.inputs if spec.name in wanted]
        return {name: row_lengths([chunk for rows in decoded for chunk in rows[name]]) for name in inputs}

    def _predict_answer(self, job: PredictJob, predictions: Any) -> Result:
        try:
            rows = slice(job.start, job.start + job.size)
            if self._own_postprocess and not isinstance(predictions, (Predictions, Scores)):
                return Answer(to_answer(predictions, rows, job.request.outputs))
            return Answer(predictions.outputs(rows, job.options, job.request.outputs))
        except RequestError as error:
            return error

    # --- building ----------------------------------------------------------------------------------------------------

    def _place(self, model: Any) -> nn.Module:
        if not callable(model):
            raise LoadError(f"load returned a {type(model).__name__}, which is no model that can be called")
        if not isinstance(model, nn.Module):
            return Function(model)
        # Convolutions run faster on channels_last, on CPUs as on GPUs; other layers do not care.
        if any(len(spec.shape) == 3 for spec in self.inputs):
            whole: Any = model  # not every version of torch declares this form of ``to``
            placed: nn.Module = whole.to(memory_format=torch.channels_last)
            return placed
        return model

    def example(self, rows: int, length: int = 1) -> List[torch.Tensor]:
        """The model's arguments for rows of zeros; -1 in a shape counts as ``length``."""
        decoded = samples.zeros(self.inputs, rows, length)
        return [tensor.clone() for tensor in RowHandler.preprocess(self, [decoded])]

    def _served(self, config: HandlerConfig) -> Tuple[nn.Module, HandlerConfig, bool]:
        """The model as it is run for batches, its settings, and whether it may be explained."""
        model, explainable = self.model, self.explainable
        if self._own_inference or isinstance(model, Function):
            if config.compile not in ("auto", "none"):
                raise ConfigError(f"handler.compile: {config.compile} compiles modules; this model is a function")
            config = dataclasses.replace(config, compile="none")
            explainable = False
        if self.outputs:
            model, explainable = Declared(model, self.outputs), False
        if self._own_inference:
            model = self._called(read_declared(self.parameters, {}))
        return model, config, explainable

    def _build(self, config: HandlerConfig, seconds: float) -> None:
        model, config, self.explainable = self._served(config)
        runtime = build_runtime(
            *(model, config, self.device, self.inputs, self.example, seconds, self.explainable, self.directory)
        )
        self._engine, self._mode = runtime.engine, runtime.mode
        self._to_buckets = not takes_any_length(runtime.mode, self.device)
        self._read_scores(runtime.scores)
        self._check_padding()
        self._by_length = self._fit_lengths()
        self._build_explainer(runtime.eager)

    def _fit_lengths(self) -> Optional[ByLength]:
        """How batches are cut by length; None where rows see others, or are filled up otherwise than by this base."""
        shapes_itself = {"collate", "prepare"} & overridden(type(self), RowHandler)
        if not self.independent_rows or shapes_itself or all(spec.tensor.pad is None for spec in self.inputs):
            return None
        return fit_lengths(self._engine.forward, self.inputs, self._to_buckets, self.example, self.device)

    def _check_padding(self) -> None:
        """Raise LoadError where a row of one value has another answer beside a longer row, which fills it up."""
        if not self.independent_rows or all(spec.tensor.pad is None for spec in self.inputs):
            return
        rows = (RowHandler.preprocess(self, [samples.ones(self.inputs, lengths)]) for lengths in ([1], [1, 9]))
        alone, together = (self._engine.run(given).scores for given in rows)
        if alone is None or together is None:  # no memory for two rows: requests are told so
            return
        relative, absolute = TOLERANCES[self.config.precision]
        for one, other in zip(as_tuple(alone), as_tuple(together)):
            # What differs in size has grown with the padding: of that the row's own value counts.
            own = tuple(slice(0, 1 if a != b else a) for a, b in zip(one.shape[1:], other.shape[1:]))
            if not torch.allclose(one[0][own].float(), other[0][own].float(), relative, absolute, equal_nan=True):
                raise LoadError(
                    "a row's answer changes with what fills it up beside a longer one: give the model a mask or "
                    "lengths (companion in its InputSpec) and have it use them, or say independent_rows = False"
                )

    def _read_scores(self, scores: Any) -> None:
        """What one row's scores tell of all, and an answer made of them: nothing becomes ready and then fails."""
        if not self.outputs and not isinstance(scores, torch.Tensor):
            raise LoadError(f"the model gave a {type(scores).__name__}, not one tensor: declare its outputs")
        self.score_shape = () if self.outputs else tuple(scores.shape[1:])
        self.classes = int(self.score_shape[0]) if self.score_shape else 1
        self.classifies = self.classifies and not self.outputs
        self._one_logit = self.classifies and self.score_shape == (1,)
        self.classes += self._one_logit
        if self._answers_itself(scores):
            self.classifies = self._one_logit = self.explainable = False
        if self.classifies and len(self.score_shape) != 1:
            raise LoadError(f"scores of a row have shape {self.score_shape}, not (classes,): set classifies = False")
        if self.classifies and self.labels is not None and len(self.labels) != self.classes:
            raise LoadError(f"index_to_name.json has {len(self.labels)} names, the model {self.classes} classes")

    def _answers_itself(self, scores: Any) -> bool:
        """Whether the subclass's ``postprocess`` makes the answers; LoadError where they are none, or not declared."""
        if not (self.outputs or self._own_postprocess):
            return False
        try:
            lengths = {spec.name: np.ones(1, np.int64) for spec in self.inputs}
            made = self._ready(scores, lengths, read_declared(self.parameters, {}))
            if isinstance(made, (Predictions, Scores)):
                return False
            if isinstance(made, Answers):
                made.outputs(slice(0, 1), PredictOptions(), None)
                return False
            check_column(made, 1)
        except Exception as error:
            name = "postprocess" if self._own_postprocess else "outputs"
            raise LoadError(f"{name}: the first row has no answer: {type(error).__name__}: {error}") from error
        return True

    def _build_explainer(self, eager: nn.Module) -> None:
        """Sets ``_explanations``, or, where the model has none, the reason."""
        self._explanations: Optional[Explanations] = None
        try:
            if not self.explainable:
                raise Unexplainable("it gives no scores of classes by a module that torch can go back through")
            if len(self.score_shape) != 1:
                raise Unexplainable("its scores are not a vector for each row")
            self._explanations = build_explanations(
                *(TwoClasses(eager) if self._one_logit else eager, eager, self.inputs, lambda: self.example(1)),
                rows_at_once=self.config.internal_batch_size,
                side_by_side=leaves_processors(self.device),
                layer_name=self.config.explain_layer,
            )
        except Unexplainable as error:
            if self.config.explain_layer is not None:
                raise ConfigError(f"handler.explain_layer: this model has no explanations: {error}") from error
            logger.log(
                logging.WARNING if error.__cause__ else logging.INFO, "this model has no explanations: %s", error
            )
            self._unexplainable = str(error)
        self.explainable = self._explanations is not None
        if self._explanations is None:
            return
        self._explanations = dataclasses.replace(
            self._explanations, labels=self.labels, tokens=self.tokens, pictures=self.pictures
        )
        self._explain_keys = self._explanations.keys.union(one.name for one in self.parameters)
