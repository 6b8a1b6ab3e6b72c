"""The life of a batch in the worker: decode, preprocess, inference or explain, postprocess.

``RowHandler`` serves any model whose inputs and output have the rows in dimension 0. A subclass says what its inputs
are; ``ImageClassifier`` is the first of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple, Union

import numpy as np
import torch
from torch import nn
from ts.torch_handler.base_handler import BaseHandler

from mnist_handler import describe
from mnist_handler.compute.device import end_if_lost, leaves_processors, pick_device, set_tf32, set_threads
from mnist_handler.compute.engine import Outcome, is_out_of_memory
from mnist_handler.compute.loading import LoadError, load_labels, load_model
from mnist_handler.compute.runtime import build_runtime
from mnist_handler.config import HandlerConfig, parse_config, warm_up_limit
from mnist_handler.envelopes.batch import WireEnvelope, failure
from mnist_handler.envelopes.worker_context import asks_description
from mnist_handler.explain.attributions import CPU_ROWS, DEFAULT_METHOD, Explainer, method_settings
from mnist_handler.explain.requests import ExplainJob, explain_jobs
from mnist_handler.explain.targets import read_targets, split_targets
from mnist_handler.inputs import arrays
from mnist_handler.inputs.checks import check_bounds, check_names, check_specs
from mnist_handler.inputs.parameters import (
    EXPLAIN_KEYS,
    PREDICT_KEYS,
    Asked,
    PredictOptions,
    collect,
    explain_options,
    predict_options,
)
from mnist_handler.inputs.spec import READY, InputSpec, Piece, Rows, by_form, count, places, stack
from mnist_handler.metrics import Meter, Stopwatch
from mnist_handler.predictions import Predictions, Scores, TwoClasses, two_classes
from mnist_handler.requests import Answer, Block, Request, RequestError, row_error
from mnist_handler.worker_log import thin_out

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


Job = Union[PredictJob, ExplainJob]


class RowHandler(BaseHandler):  # type: ignore[misc]
    """Base of handlers: one TorchServe worker's model, from requests to answers.

    Subclasses set ``inputs`` and may override ``setup``, ``decode_input``, ``prepare`` and ``postprocess``.
    """

    #: Tells the envelopes that ``handle`` reads and writes wire forms itself.
    speaks_wire = True
    #: What the model takes, in the order of its ``forward``; shapes are a row's.
    inputs: Tuple[InputSpec, ...] = ()
    #: Whether scores are of classes, [rows, classes]: then answers are labels. One score a row is the logit of class 1
    #: beside class 0. Else answers are the scores.
    classifies = True
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
        properties = context.system_properties
        self.context = context
        self.manifest = context.manifest
        check_specs(self.inputs)
        self.config = parse_config((context.model_yaml_config or {}).get("handler"))
        self.device = pick_device(properties.get("gpu_id"))
        threads = set_threads(self.config.intra_op_threads)
        set_tf32(self.device, self.config.tf32)
        directory = Path(properties.get("model_dir"))
        self.labels = load_labels(directory / "index_to_name.json")
        self.model = self._place(load_model(directory, self.manifest, self.device))
        self.setup(context)
        self._build(self.config, warm_up_limit(self.config, context.model_yaml_config))
        thin_out(self.config.metrics_interval)
        self._meter = Meter(self.config.metrics_interval) if self.config.metrics else None
        self._metadata = describe.metadata(self._facts(context))
        self.initialized = True
        logger.info("%s on %s, %d threads an operator, %s", type(self).__name__, self.device, threads, self._mode)

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
            explainable=self.explainable,
            independent_rows=self.independent_rows,
            request_headers=tuple(name.lower() for name in self.request_headers),
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
                self._compute(jobs, results, watch)
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

    def decode(self, inputs: Sequence[Tuple[str, Block]], asked: Asked) -> Rows:
        """A request's blocks as rows by input; raises RequestError naming the rows at fault.

        The only input of a model may have any name and come several times: the rows follow each other. Several
        inputs go by their names, each once, with equally many rows.
        """
        if len(self.inputs) == 1:
            return {self.inputs[0].name: self._decode_blocks(self.inputs[0], [block for _, block in inputs], asked)}
        check_names([name for name, _ in inputs], [spec.name for spec in self.inputs])
        blocks = dict(inputs)
        rows = {spec.name: self._decode_blocks(spec, [blocks[spec.name]], asked) for spec in self.inputs}
        sizes = {name: count(pieces) for name, pieces in rows.items()}
        if len(set(sizes.values())) != 1:
            raise RequestError(400, f"the inputs have unequally many rows: {sizes}")
        return rows

    def decode_input(
        self, spec: InputSpec, block: Block, asked: Asked, first_row: int, faults: Dict[int, str]
    ) -> List[Piece]:
        """One block's rows; puts what is wrong with single rows into ``faults``. Here: numbers of ``spec``'s datatype.

        Raises:
            arrays.TensorError: the block as a whole cannot be rows of ``spec``.
        """
        if not isinstance(block.values, np.ndarray):
            return [Piece(READY, arrays.list_rows(block.values, spec.shape, spec.datatype, first_row, faults))]
        rows = arrays.split_rows(block.values, spec.shape)
        return [Piece(READY, arrays.cast(rows, spec.datatype, first_row, faults))]

    def preprocess(self, decoded: Sequence[Rows]) -> Tuple[torch.Tensor, ...]:
        """The rows of all requests as the model's inputs on the device: one stack and one transfer for each form."""
        tensors = []
        with torch.inference_mode():
            for spec in self.inputs:
                pieces = [piece for rows in decoded for piece in rows[spec.name]]
                tensors.append(self._merge(spec, pieces))
        return tuple(tensors)

    def prepare(self, spec: InputSpec, form: str, rows: torch.Tensor) -> torch.Tensor:
        """Rows of one form, on the device, as the model takes them."""
        return rows

    def inference(self, data: Sequence[torch.Tensor], *args: Any, **kwargs: Any) -> Outcome:
        """Scores of all rows; rows that do not fit into memory are named in the outcome."""
        return self._engine.run(data)

    def postprocess(self, data: torch.Tensor) -> Union[Predictions, Scores]:
        """A batch's scores, ready to be cut into answers."""
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
        jobs.sort(key=lambda job: isinstance(job, ExplainJob) and job.targets_known)
        start = 0
        for job in jobs:
            job.start, start = start, start + job.size
        return jobs

    def _decode_request(self, index: int, request: Request) -> Job:
        inputs, targets = split_targets(request)
        if request.by_row and len(inputs) > 1 and len(self.inputs) == 1:
            check_names([name for name, _ in inputs], [self.inputs[0].name])
        if not request.explain:
            asked = collect(request, PREDICT_KEYS)
            options = predict_options(asked, self.classes)
            rows = self.decode(inputs, asked)
            return PredictJob(index, request, rows, self._size(rows), options)
        if not self.explainable:
            raise RequestError(400, "this model has no explanations")
        asked = collect(request, self._explain_keys)
        how = explain_options(asked, self.methods, DEFAULT_METHOD)
        rows = self.decode(inputs, asked)
        size = self._size(rows)
        chosen = read_targets(asked, targets, size, self.classes)
        if not self.classifies and None in chosen:
            raise RequestError(400, f"this model predicts no class to explain: give a target, 0 to {self.classes - 1}")
        return ExplainJob(index, request, rows, size, how, chosen)

    def _size(self, rows: Rows) -> int:
        size = count(rows[self.inputs[0].name])
        if size == 0:
            raise RequestError(400, "no rows")
        return size

    def _decode_blocks(self, spec: InputSpec, blocks: List[Block], asked: Asked) -> List[Piece]:
        pieces: List[Piece] = []
        faults: Dict[int, str] = {}
        for block in blocks:
            try:
                first = count(pieces)
                made = self.decode_input(spec, block, asked, first, faults)
                for row, fault in check_bounds(spec, made, first).items():
                    faults.setdefault(row, fault)  # zeros stand where a row is at fault already
                pieces.extend(made)
            except arrays.TensorError as error:
                raise RequestError(400, f"input {spec.name}: {error}") from error
        if faults:
            named = f"input {spec.name}: " if len(self.inputs) > 1 else ""
            raise row_error({row: named + text for row, text in faults.items()})
        return pieces

    def _merge(self, spec: InputSpec, pieces: List[Piece]) -> torch.Tensor:
        ready = {form: self.prepare(spec, form, stack(some, self.device)) for form, some in by_form(pieces).items()}
        if len(ready) == 1:
            return next(iter(ready.values()))
        joined = torch.cat(list(ready.values()))
        order = [place for form in ready for place in places(pieces, form)]
        whole = torch.empty_like(joined)
        whole[torch.tensor(order, device=self.device)] = joined
        return whole

    def _compute(self, jobs: List[Job], results: Dict[int, Result], watch: Stopwatch) -> None:
        tensors = self.preprocess([job.rows for job in jobs])
        watch.lap("Preprocess")
        first = [job for job in jobs if not (isinstance(job, ExplainJob) and job.targets_known)]
        failed: Dict[int, str] = {}
        predictions: Union[Predictions, Scores, None] = None
        if first:
            rows = first[-1].start + first[-1].size
            outcome = self.inference([tensor[:rows] for tensor in tensors])
            failed = outcome.failed
            predictions = None if outcome.scores is None else self.postprocess(outcome.scores)
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
        if explains:
            explain_jobs(self._explainer, explains, tensors, predictions, results)
            watch.lap("Explain")

    def _predict_answer(self, job: PredictJob, predictions: Union[Predictions, Scores]) -> Result:
        try:
            rows = slice(job.start, job.start + job.size)
            return Answer(predictions.outputs(rows, job.options, job.request.outputs))
        except RequestError as error:
            return error

    # --- building ----------------------------------------------------------------------------------------------------

    def _place(self, model: nn.Module) -> nn.Module:
        # Convolutions run faster on channels_last, on CPUs as on GPUs; other layers do not care.
        if any(len(spec.shape) == 3 for spec in self.inputs):
            return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
        return model

    def example(self, rows: int, length: int = 1) -> List[torch.Tensor]:
        """Inputs of zeros, as ``preprocess`` gives them; -1 in a shape counts as ``length``."""
        shapes = [(rows, *(length if size < 0 else size for size in spec.shape)) for spec in self.inputs]
        dtypes = [arrays.torch_dtype(spec.datatype) for spec in self.inputs]
        return [torch.zeros(shape, dtype=dtype, device=self.device) for shape, dtype in zip(shapes, dtypes)]

    def _build(self, config: HandlerConfig, seconds: float) -> None:
        runtime = build_runtime(self.model, config, self.device, self.inputs, self.example, seconds)
        self._engine, self._mode, self.score_shape = runtime.engine, runtime.mode, runtime.score_shape
        if self.classifies and len(self.score_shape) != 1:
            raise LoadError(f"scores of a row have shape {self.score_shape}, not (classes,): set classifies = False")
        self.classes = int(self.score_shape[0]) if self.score_shape else 1
        self._one_logit = self.classifies and self.classes == 1
        if self._one_logit:
            self.classes = 2
        if self.classifies and self.labels is not None and len(self.labels) != self.classes:
            raise LoadError(f"index_to_name.json has {len(self.labels)} names, the model {self.classes} classes")
        self._build_explainer(TwoClasses(runtime.eager) if self._one_logit else runtime.eager)

    def _build_explainer(self, eager: nn.Module) -> None:
        floats = all(spec.datatype in ("FP16", "FP32", "FP64") for spec in self.inputs)
        self.explainable = self.explainable and floats and len(self.score_shape) == 1
        self.methods = method_settings(self.inputs[0].shape)
        if isinstance(self.model, torch.jit.ScriptModule):
            del self.methods["deep_lift"]  # it hooks modules, which TorchScript does not allow
        self._explain_keys = EXPLAIN_KEYS.union(*self.methods.values())
        limit = self.config.explain_batch_limit
        self._explainer = Explainer(eager, limit or CPU_ROWS, leaves_processors(self.device))
        if not self.explainable:
            return
        try:
            self._explainer.warm_up(self.example(1), fit=limit is None)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self.explainable = False
            cause = str(error).strip().split("\n")[0]
            logger.warning("this model has no explanations: no gradient reaches its inputs (%s)", cause)
