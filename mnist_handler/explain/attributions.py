"""Attributions by Captum: which parts of a row speak for a class, and how much.

Methods: integrated_gradients (Sundararajan et al. 2017), saliency (Simonyan et al. 2013), input_x_gradient
(Shrikumar et al. 2016), deep_lift (Shrikumar et al. 2017), gradient_shap (Lundberg and Lee 2017), occlusion (Zeiler
and Fergus 2014), smooth_grad (Smilkov et al. 2017), grad_cam (Selvaraju et al. 2017). Rows that share a method and its
parameters are attributed in one call.
"""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from torch import nn

from mnist_handler.compute.engine import assemble, is_out_of_memory, run_halving
from mnist_handler.explain.side_by_side import TwoWayRun
from mnist_handler.explain.view import ExplainedModel, Tensors
from mnist_handler.inputs.parameters import ParameterSpec
from mnist_handler.requests import RequestError

logger = logging.getLogger(__name__)

DEFAULT_METHOD = "integrated_gradients"
#: The sum of a row's attributions is f(row) − f(baseline) for these, so a convergence delta has a meaning.
COMPLETE = ("integrated_gradients", "deep_lift", "gradient_shap")
#: These split their own work to hold no more than a bound at once.
_BOUNDED = ("integrated_gradients", "occlusion", "smooth_grad")
_MOST_WINDOWS = 1024
#: Rows times steps at once: more is no faster on a CPU, and holds its cache.
CPU_ROWS = 64
#: On a GPU as many as its memory holds, within these; more is no faster, and keeps others waiting.
_GPU_ROWS = (64, 4096)
#: Rows of the attribution that tells how much memory one takes.
_PROBE = 8

Settings = Mapping[str, float]


def method_settings(row_shape: Sequence[int]) -> Dict[str, Dict[str, ParameterSpec]]:
    """Each method's parameters for rows of this shape, with default and bounds.

    ``n_steps``: points of the integral (Gauss-Legendre). ``baselines``: the value that stands for "nothing there", in
    the model's own (normalised) numbers. ``n_samples``, ``stdevs``, ``seed``: random neighbours of a row.
    ``window``, ``strides``: what occlusion covers, in elements of the last two dimensions. ``stdevs`` is in the
    model's own numbers as well.
    """
    baselines = ParameterSpec(0.0, -1000.0, 1000.0, whole=False)
    side = max(1, min(row_shape[-2:], default=1))
    window = max(1, side // 7)
    samples = {"n_samples": ParameterSpec(5, 1, 100), "stdevs": ParameterSpec(0.0, 0.0, 10.0, whole=False)}
    cover = {"window": ParameterSpec(window, 1, side), "strides": ParameterSpec(max(1, window // 2), 1, side)}
    return {
        "integrated_gradients": {"n_steps": ParameterSpec(15, 1, 200), "baselines": baselines},
        "saliency": {},
        "input_x_gradient": {},
        "deep_lift": {"baselines": baselines},
        "gradient_shap": {**samples, "baselines": baselines, "seed": ParameterSpec(0, 0, 2**31 - 1)},
        "occlusion": {**cover, "baselines": baselines},
        "smooth_grad": {
            "n_samples": ParameterSpec(10, 1, 100),
            "stdevs": ParameterSpec(0.3, 0.0, 10.0, whole=False),
            "seed": ParameterSpec(0, 0, 2**31 - 1),
        },
        "grad_cam": {},
    }


@dataclass(frozen=True)
class _Call:
    """Rows of one Captum call: what is explained, what goes along, and rows times steps at once."""

    inputs: Tensors
    given: Tensors
    targets: torch.Tensor
    settings: Settings
    bound: int

    @property
    def rows(self) -> int:
        return len(self.targets)

    @property
    def common(self) -> Dict[str, Any]:
        """What every method takes."""
        return {"target": self.targets, "additional_forward_args": self.given or None}

    def part(self, row: int) -> _Call:
        own, given = (tuple(one.detach()[row : row + 1].clone() for one in some) for some in (self.inputs, self.given))
        own = tuple(one.requires_grad_() for one in own)
        return replace(self, inputs=own, given=given, targets=self.targets[row : row + 1])


class Explainer:
    """Attributions on the worker's device, by an eager model of its own.

    Args:
        model: eager, in fp32, on the device; an ExplainedModel where not all of its arguments are explained.
        batch_limit: rows times steps on the device at once; bounds the memory.
        side_by_side: integrated gradients of more than that go in two halves at once, each on its own processors.
        layer: the convolution, or what comes behind it, whose maps grad_cam weighs.
    """

    def __init__(
        self, model: nn.Module, batch_limit: int, side_by_side: bool = False, layer: Optional[nn.Module] = None
    ) -> None:
        self._model = model if isinstance(model, ExplainedModel) else ExplainedModel(model)
        self._limit = batch_limit
        self._layer = layer
        self._pair = TwoWayRun() if side_by_side else None
        self._calls: Dict[str, Callable[[_Call], Tensors]] = {
            "integrated_gradients": self._integrated_gradients,
            "saliency": lambda call: Saliency(self._model).attribute(call.inputs, **call.common),
            "input_x_gradient": lambda call: InputXGradient(self._model).attribute(call.inputs, **call.common),
            "deep_lift": self._deep_lift,
            "gradient_shap": self._gradient_shap,
            "occlusion": self._occlusion,
            "smooth_grad": self._smooth_grad,
            "grad_cam": self._grad_cam,
        }

    def warm_up(self, example: Sequence[torch.Tensor], fit: bool) -> None:
        """Attribute once, so that the first request need not wait for what torch prepares.

        Args:
            example: inputs of one row.
            fit: on a GPU, raise the limit to what half of its free memory holds, by what this call takes.
        """
        fit = fit and example[0].is_cuda
        rows = [tensor.expand(_PROBE if fit else 1, *tensor.shape[1:]) for tensor in example]
        target = torch.zeros(len(rows[0]), dtype=torch.int64, device=rows[0].device)
        if not fit:
            self.attribute("saliency", rows, target, {})
            return
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        self.attribute("saliency", rows, target, {})
        row = max(1, (torch.cuda.max_memory_allocated() - before) // _PROBE)
        low, high = _GPU_ROWS
        self._limit = max(low, min(high, torch.cuda.mem_get_info()[0] // 2 // row))
        logger.info("explanations: up to %d rows times steps at once", self._limit)

    def attribute(
        self, method: str, arguments: Sequence[torch.Tensor], targets: torch.Tensor, settings: Settings
    ) -> Tuple[Optional[Tensors], Dict[int, str]]:
        """Attribute all rows to their targets.

        Args:
            arguments: [rows, …] each, as the model takes them.
            targets: class of each row, int64 [rows].

        Returns:
            One tensor an explained input, of its shape, grad_cam's of one channel (None when no row fits into memory),
            and the rows that do not fit.
        """
        rows = len(targets)
        shapes: List[Tuple[int, ...]] = []

        def span(start: int, stop: int) -> torch.Tensor:
            if self._pair is None or not self._is_long(method, stop - start, settings):
                return part(start, stop, self._limit)
            middle, bound = (start + stop) // 2, self._limit // 2
            return torch.cat(self._pair.run(partial(part, start, middle, bound), partial(part, middle, stop, bound)))

        def part(start: int, stop: int, bound: int) -> torch.Tensor:
            # Copies outside of inference mode can take part in gradients, which Captum would warn about setting itself.
            explained, given = self._model.split([tensor[start:stop].clone() for tensor in arguments])
            own = tuple(tensor.detach().requires_grad_() for tensor in explained)
            result = self._model.by_element(self._call(method, _Call(own, given, targets[start:stop], settings, bound)))
            shapes[:] = [tuple(one.shape[1:]) for one in result]
            # Captum before 0.7 gives float64 for integrated gradients.
            return torch.cat([one.detach().reshape(stop - start, -1).float() for one in result], dim=1)

        # Filters are the process's, not the thread's: they are set outside of the halves.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done, failed = run_halving(span, rows, self._rows_at_once(method, settings))
        flat = assemble(done, rows)
        return (None if flat is None else _unflatten(flat, shapes)), failed

    def delta(
        self, arguments: Sequence[torch.Tensor], targets: torch.Tensor, baseline: float, attributions: Tensors
    ) -> torch.Tensor:
        """How far the sum of each row's attributions is from f(row) − f(baseline); 0 is exact. float32 [rows].

        The baseline has the row's own values of what is not explained.
        """
        differences: List[torch.Tensor] = []
        with torch.no_grad():
            for at in range(0, len(targets), self._limit):
                explained, given = self._model.split([one[at : at + self._limit].clone() for one in arguments])
                end, start = (
                    self._model(*some, *given) for some in (explained, self._model.nothing(explained, baseline))
                )
                differences.append((end - start).gather(1, targets[at : at + self._limit, None])[:, 0])
            total = torch.stack([one.flatten(1).sum(1) for one in attributions]).sum(0)
            difference: torch.Tensor = total - torch.cat(differences)
            return difference

    def _is_long(self, method: str, rows: int, settings: Settings) -> bool:
        """More than one pass, of a method that keeps nothing in the model or the process while it runs."""
        if method != "integrated_gradients" or rows < 2 or self._limit < 2:
            return False
        return rows * int(settings["n_steps"]) > self._limit

    def _call(self, method: str, call: _Call) -> Tensors:
        """One Captum call; out of memory, those that bound their own memory take fewer steps at once."""
        while True:
            try:
                return self._calls[method](call)
            except Exception as error:
                if method not in _BOUNDED or call.bound < 2 * call.rows or not is_out_of_memory(error):
                    raise
            steps = int(call.settings.get("n_steps", call.bound))
            call = replace(call, bound=min(call.bound, call.rows * steps) // 2)

    def _rows_at_once(self, method: str, settings: Settings) -> int:
        """Rows of one Captum call; integrated gradients, occlusion and smooth_grad bound their memory themselves."""
        copies = {"gradient_shap": int(settings.get("n_samples", 1)), "deep_lift": 2}.get(method, 1)
        return max(1, self._limit // copies)

    def _integrated_gradients(self, call: _Call) -> Tensors:
        steps = int(call.settings["n_steps"])
        result: Tensors = IntegratedGradients(self._model).attribute(
            call.inputs,
            baselines=self._nothing(call),
            n_steps=steps,
            internal_batch_size=call.bound if call.rows * steps > call.bound else None,
            **call.common,
        )
        return result

    def _deep_lift(self, call: _Call) -> Tensors:
        result: Tensors = DeepLift(self._model).attribute(call.inputs, baselines=self._nothing(call), **call.common)
        return result

    def _gradient_shap(self, call: _Call) -> Tensors:
        baselines = tuple(tensor[:1] for tensor in self._nothing(call))
        with _seeded(int(call.settings["seed"]), call.inputs[0].device):
            result: Tensors = GradientShap(self._model).attribute(
                call.inputs,
                baselines=baselines,
                n_samples=int(call.settings["n_samples"]),
                stdevs=call.settings["stdevs"],
                **call.common,
            )
        return result

    def _occlusion(self, call: _Call) -> Tensors:
        window, strides = int(call.settings["window"]), int(call.settings["strides"])
        with torch.no_grad():
            result: Tensors = Occlusion(self._model).attribute(
                call.inputs,
                sliding_window_shapes=tuple(_cover(tensor.shape[1:], window) for tensor in call.inputs),
                strides=tuple(_cover(tensor.shape[1:], strides) for tensor in call.inputs),
                baselines=tuple(call.settings["baselines"] for _ in call.inputs),
                perturbations_per_eval=max(1, call.bound // call.rows),
                **call.common,
            )
        return result

    def _smooth_grad(self, call: _Call) -> Tensors:
        """The mean gradient of noisy neighbours, row by row: so a row's noise is its own whatever is beside it."""
        samples = int(call.settings["n_samples"])
        tunnel = NoiseTunnel(Saliency(self._model))
        rows: List[Tensors] = []
        for row in range(call.rows):
            one = call.part(row)
            with _seeded(int(call.settings["seed"]), one.inputs[0].device):
                made: Tensors = tunnel.attribute(
                    one.inputs,
                    nt_type="smoothgrad",
                    nt_samples=samples,
                    nt_samples_batch_size=min(samples, call.bound),
                    stdevs=call.settings["stdevs"],
                    abs=False,
                    **one.common,
                )
            rows.append(made)
        return tuple(torch.cat(column) for column in zip(*rows))

    def _grad_cam(self, call: _Call) -> Tensors:
        """The layer's maps, each weighed by its mean gradient, what speaks for the class alone, in the row's size."""
        maps = LayerGradCam(self._model, self._layer).attribute(call.inputs, relu_attributions=True, **call.common)
        sized: torch.Tensor = LayerAttribution.interpolate(maps, call.inputs[0].shape[-2:], "bilinear")
        return (sized,)

    def _nothing(self, call: _Call) -> Tensors:
        return self._model.nothing([one.detach() for one in call.inputs], call.settings.get("baselines", 0.0))


def check_windows(row_shapes: Sequence[Sequence[int]], settings: Settings) -> None:
    """Refuse with RequestError (400) gaps between windows, and more than 1024 windows over all inputs of a row."""
    window, strides = settings["window"], settings["strides"]
    if strides > window:
        raise RequestError(400, f"occlusion leaves gaps: strides ({strides:g}) are at most the window ({window:g})")
    windows = sum(_windows(shape, window, strides) for shape in row_shapes)
    if windows > _MOST_WINDOWS:
        raise RequestError(
            400, f"occlusion by {windows} windows a row, at most {_MOST_WINDOWS}: raise window or strides"
        )


def _windows(row_shape: Sequence[int], window: float, strides: float) -> int:
    count = 1
    for size in row_shape[-2:]:
        count *= int(-(-(size - min(window, size)) // min(strides, size))) + 1
    return count


def _cover(row_shape: Sequence[int], size: int) -> Tuple[int, ...]:
    """All channels, and ``size`` elements of each of the last two dimensions."""
    return tuple(row_shape[:-2]) + tuple(min(size, length) for length in row_shape[-2:])


def _unflatten(flat: torch.Tensor, shapes: Sequence[Tuple[int, ...]]) -> Tensors:
    parts: List[torch.Tensor] = list(torch.split(flat, [math.prod(shape) for shape in shapes], dim=1))
    return tuple(part.reshape(len(flat), *shape) for part, shape in zip(parts, shapes))


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Captum draws from torch's and NumPy's global generators: seed both, then put them back."""
    state: Any = np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)
