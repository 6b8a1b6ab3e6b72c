"""Attributions by Captum: which parts of a row speak for a class, and how much.

Methods: integrated_gradients (Sundararajan et al. 2017), saliency (Simonyan et al. 2013), input_x_gradient
(Shrikumar et al. 2016), deep_lift (Shrikumar et al. 2017), gradient_shap (Lundberg and Lee 2017), occlusion (Zeiler
and Fergus 2014). Rows that share a method and its parameters are attributed in one call.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from captum.attr import DeepLift, GradientShap, InputXGradient, IntegratedGradients, Occlusion, Saliency
from torch import nn

from mnist_handler.compute.engine import assemble, is_out_of_memory, run_halving
from mnist_handler.explain.side_by_side import TwoWayRun
from mnist_handler.inputs.parameters import ParameterSpec
from mnist_handler.requests import RequestError

logger = logging.getLogger(__name__)

DEFAULT_METHOD = "integrated_gradients"
#: The sum of a row's attributions is f(row) − f(baseline) for these, so a convergence delta has a meaning.
COMPLETE = ("integrated_gradients", "deep_lift", "gradient_shap")
#: These split their own work to hold no more than a bound at once.
_BOUNDED = ("integrated_gradients", "occlusion")
_MOST_WINDOWS = 1024
#: Rows times steps at once: more is no faster on a CPU, and holds its cache.
CPU_ROWS = 64
#: On a GPU as many as its memory holds, within these; more is no faster, and keeps others waiting.
_GPU_ROWS = (64, 4096)
#: Rows of the attribution that tells how much memory one takes.
_PROBE = 8

Tensors = Tuple[torch.Tensor, ...]
Settings = Mapping[str, float]


def method_settings(row_shape: Sequence[int]) -> Dict[str, Dict[str, ParameterSpec]]:
    """Each method's parameters for rows of this shape, with default and bounds.

    ``n_steps``: points of the integral (Gauss-Legendre). ``baselines``: the value that stands for "nothing there", in
    the model's own (normalised) numbers. ``n_samples``, ``stdevs``, ``seed``: random neighbours of a row.
    ``window``, ``strides``: what occlusion covers, in elements of the last two dimensions.
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
    }


class Explainer:
    """Attributions on the worker's device, by an eager model of its own.

    Args:
        model: eager, in fp32, on the device. It is changed: it loses its parameters' gradients.
        batch_limit: rows times steps on the device at once; bounds the memory.
        side_by_side: integrated gradients of more than that go in two halves at once, each on its own processors.
    """

    def __init__(self, model: nn.Module, batch_limit: int, side_by_side: bool = False) -> None:
        self._model = model
        self._limit = batch_limit
        self._pair = TwoWayRun() if side_by_side else None
        self._calls: Dict[str, Callable[[Tensors, torch.Tensor, Settings, int], Tensors]] = {
            "integrated_gradients": self._integrated_gradients,
            "saliency": lambda x, target, *_: Saliency(model).attribute(x, target=target),
            "input_x_gradient": lambda x, target, *_: InputXGradient(model).attribute(x, target=target),
            "deep_lift": self._deep_lift,
            "gradient_shap": self._gradient_shap,
            "occlusion": self._occlusion,
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
        self, method: str, inputs: Sequence[torch.Tensor], targets: torch.Tensor, settings: Settings
    ) -> Tuple[Optional[Tensors], Dict[int, str]]:
        """Attribute all rows to their targets.

        Args:
            inputs: [rows, …] each, as the model takes them.
            targets: class of each row, int64 [rows].

        Returns:
            One tensor an input, of its shape (None when no row fits into memory), and the rows that do not fit.
        """
        rows = len(targets)

        def span(start: int, stop: int) -> torch.Tensor:
            if self._pair is None or not self._is_long(method, stop - start, settings):
                return part(start, stop, self._limit)
            middle, bound = (start + stop) // 2, self._limit // 2
            return torch.cat(self._pair.run(partial(part, start, middle, bound), partial(part, middle, stop, bound)))

        def part(start: int, stop: int, bound: int) -> torch.Tensor:
            # A copy outside of inference mode can require gradients, which Captum would warn about setting itself.
            own = tuple(tensor[start:stop].clone().requires_grad_() for tensor in inputs)
            result = self._call(method, own, targets[start:stop], settings, bound)
            # Captum before 0.7 gives float64 for integrated gradients.
            return torch.cat([one.detach().reshape(stop - start, -1).float() for one in result], dim=1)

        # Filters are the process's, not the thread's: they are set outside of the halves.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done, failed = run_halving(span, rows, self._rows_at_once(method, settings))
        flat = assemble(done, rows)
        return (None if flat is None else _unflatten(flat, inputs)), failed

    def delta(
        self, inputs: Sequence[torch.Tensor], targets: torch.Tensor, baseline: float, attributions: Tensors
    ) -> torch.Tensor:
        """How far the sum of each row's attributions is from f(row) − f(baseline); 0 is exact. float32 [rows]."""
        with torch.no_grad():
            nothing = [torch.full_like(tensor[:1], baseline) for tensor in inputs]
            start = self._model(*nothing)[0].index_select(0, targets)
            spans = range(0, len(targets), self._limit)
            scores = torch.cat([self._model(*(t[at : at + self._limit] for t in inputs)) for at in spans])
            end = scores.gather(1, targets[:, None])[:, 0]
            total = torch.stack([one.flatten(1).sum(1) for one in attributions]).sum(0)
            difference: torch.Tensor = total - (end - start)
            return difference

    def _is_long(self, method: str, rows: int, settings: Settings) -> bool:
        """More than one pass, of a method that keeps nothing in the model or the process while it runs."""
        if method != "integrated_gradients" or rows < 2 or self._limit < 2:
            return False
        return rows * int(settings["n_steps"]) > self._limit

    def _call(self, method: str, inputs: Tensors, targets: torch.Tensor, settings: Settings, bound: int) -> Tensors:
        """One Captum call; out of memory, those that bound their own memory take fewer steps at once."""
        while True:
            try:
                return self._calls[method](inputs, targets, settings, bound)
            except Exception as error:
                if method not in _BOUNDED or bound < 2 * len(targets) or not is_out_of_memory(error):
                    raise
            bound = min(bound, len(targets) * int(settings.get("n_steps", bound))) // 2

    def _rows_at_once(self, method: str, settings: Settings) -> int:
        """Rows of one Captum call; only integrated gradients and occlusion bound their memory themselves."""
        copies = {"gradient_shap": int(settings.get("n_samples", 1)), "deep_lift": 2}.get(method, 1)
        return max(1, self._limit // copies)

    def _integrated_gradients(self, inputs: Tensors, targets: torch.Tensor, settings: Settings, bound: int) -> Tensors:
        steps = int(settings["n_steps"])
        result: Tensors = IntegratedGradients(self._model).attribute(
            inputs,
            baselines=tuple(settings["baselines"] for _ in inputs),
            target=targets,
            n_steps=steps,
            internal_batch_size=bound if len(targets) * steps > bound else None,
        )
        return result

    def _deep_lift(self, inputs: Tensors, targets: torch.Tensor, settings: Settings, _: int) -> Tensors:
        baselines = tuple(torch.full_like(tensor, settings["baselines"]).detach() for tensor in inputs)
        result: Tensors = DeepLift(self._model).attribute(inputs, baselines=baselines, target=targets)
        return result

    def _gradient_shap(self, inputs: Tensors, targets: torch.Tensor, settings: Settings, _: int) -> Tensors:
        baselines = tuple(torch.full_like(tensor[:1], settings["baselines"]).detach() for tensor in inputs)
        with _seeded(int(settings["seed"]), inputs[0].device):
            result: Tensors = GradientShap(self._model).attribute(
                inputs,
                baselines=baselines,
                target=targets,
                n_samples=int(settings["n_samples"]),
                stdevs=settings["stdevs"],
            )
        return result

    def _occlusion(self, inputs: Tensors, targets: torch.Tensor, settings: Settings, bound: int) -> Tensors:
        window, strides = int(settings["window"]), int(settings["strides"])
        with torch.no_grad():
            result: Tensors = Occlusion(self._model).attribute(
                inputs,
                sliding_window_shapes=tuple(_cover(tensor.shape[1:], window) for tensor in inputs),
                strides=tuple(_cover(tensor.shape[1:], strides) for tensor in inputs),
                baselines=tuple(settings["baselines"] for _ in inputs),
                target=targets,
                perturbations_per_eval=max(1, bound // len(targets)),
            )
        return result


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


def _unflatten(flat: torch.Tensor, inputs: Sequence[torch.Tensor]) -> Tensors:
    parts: List[torch.Tensor] = list(torch.split(flat, [tensor[0].numel() for tensor in inputs], dim=1))
    return tuple(part.reshape(tensor.shape) for part, tensor in zip(parts, inputs))


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
