"""Agreement with Captum called directly, and what its methods promise."""

from __future__ import annotations

import threading
import warnings
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_handler import Answer, RowHandler
from mnist_handler.compute.loading import build_model
from mnist_handler.explain.attributions import COMPLETE, Explainer
from tests.unit.mnist_handler.conftest import MODEL
from tests.unit.mnist_handler.helpers import ask, ask_one, refusal, v1, v2

#: Of attributions whose largest are around 1, between eager Captum and ours (BatchNorm folded, other batch sizes).
CLOSE = {"rtol": 1e-3, "atol": 1e-4}
TARGETS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
METHODS = [
    *("integrated_gradients", "saliency", "input_x_gradient", "deep_lift", "gradient_shap", "occlusion"),
    "smooth_grad",
]
RANDOM = {"n_samples": 3, "stdevs": 0.1, "seed": 7}


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    network = build_model(MODEL / "mnist.py")
    network.load_state_dict(torch.load(MODEL / "mnist_cnn.pt", weights_only=True))
    return network.eval()


def by_captum(method: str, model: torch.nn.Module, rows: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    rows = rows.clone().requires_grad_()
    zero = torch.zeros_like(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(7)
        np.random.seed(7)
        calls: Dict[str, Any] = {
            "integrated_gradients": lambda: IntegratedGradients(model).attribute(rows, target=target, n_steps=15),
            "saliency": lambda: Saliency(model).attribute(rows, target=target),
            "input_x_gradient": lambda: InputXGradient(model).attribute(rows, target=target),
            "deep_lift": lambda: DeepLift(model).attribute(rows, baselines=zero, target=target),
            "gradient_shap": lambda: GradientShap(model).attribute(
                rows, baselines=zero[:1], target=target, n_samples=3, stdevs=0.1
            ),
            "occlusion": lambda: Occlusion(model).attribute(rows, (1, 4, 4), (1, 2, 2), 0, target),
            "smooth_grad": lambda: torch.cat([smooth(model, row, one) for row, one in zip(rows.split(1), target)]),
        }
        result: torch.Tensor = calls[method]()
    return result.detach().float()


def smooth(model: torch.nn.Module, row: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Each row has the noise that it has alone."""
    torch.manual_seed(7)
    tunnel = NoiseTunnel(Saliency(model))
    made: torch.Tensor = tunnel.attribute(
        row, nt_type="smoothgrad", nt_samples=3, stdevs=0.1, target=int(target), abs=False
    )
    return made


@pytest.mark.parametrize("method", METHODS)
def test_agrees_with_captum(
    method: str, handler: RowHandler, digits: np.ndarray[Any, Any], model: torch.nn.Module, model_inputs: torch.Tensor
) -> None:
    parameters = RANDOM if method in ("gradient_shap", "smooth_grad") else {}
    targets = ",".join(map(str, TARGETS))
    answer = ask_one(handler, v2(digits[:12], explain=True, method=method, target=targets, **parameters))
    wanted = by_captum(method, model, model_inputs, torch.tensor(TARGETS))
    explained = answer.outputs["explain"]
    assert isinstance(explained, np.ndarray)
    assert explained.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(explained), wanted, **CLOSE)
    assert answer.parameters == {}


@pytest.mark.parametrize(
    ("method", "parameters", "tolerance"),
    [
        ("integrated_gradients", {"n_steps": 200}, 0.15),
        ("integrated_gradients", {}, 0.8),
        ("deep_lift", {}, 1e-3),
        ("integrated_gradients", {"n_steps": 200, "baselines": -0.4242}, 0.15),
    ],
)
def test_attributions_sum_up_to_the_difference(
    method: str,
    parameters: Dict[str, Any],
    tolerance: float,
    handler: RowHandler,
    digits: np.ndarray[Any, Any],
    model: torch.nn.Module,
    model_inputs: torch.Tensor,
) -> None:
    """Completeness. Scores differ by up to 7 here; integrated gradients close in on that with the steps.

    DeepLift promises it too, but Captum's rule for max pooling keeps it only where the baseline's maps are flat, as
    those of 0 are (by Captum itself 1.3 off for a baseline of -0.4242).
    """
    request = v2(digits[:12], explain=True, method=method, convergence_delta=True, target=4, **parameters)
    answer = ask_one(handler, request)
    with torch.no_grad():
        nothing = torch.full_like(model_inputs[:1], parameters.get("baselines", 0.0))
        difference = (model(model_inputs) - model(nothing))[:, 4].numpy()
    total = np.asarray(answer.outputs["explain"]).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(total, difference, atol=tolerance)
    delta = np.asarray(answer.outputs["convergence_delta"])
    np.testing.assert_allclose(delta, total - difference, atol=1e-3)


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, 11), min_size=1, max_size=6),
    st.sampled_from([method for method in METHODS if method != "gradient_shap"]),
)
def test_neighbours_change_nothing(rows: List[int], method: str) -> None:
    """A row's attribution is the same alone and in any batch (gradient_shap draws at random, so not that)."""
    handler, digits = _shared
    together = [v2(digits[row], explain=True, method=method) for row in rows]
    for row, answer in zip(rows, ask(handler, *together)):
        assert isinstance(answer, Answer)
        alone = ask_one(handler, v2(digits[row], explain=True, method=method))
        assert answer.parameters == alone.parameters
        np.testing.assert_allclose(answer.outputs["explain"], alone.outputs["explain"], **CLOSE)


_shared: Tuple[Any, Any] = (None, None)


@pytest.fixture(autouse=True)
def _share(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    """Hypothesis and function fixtures do not go together."""
    global _shared
    _shared = (handler, digits)


def test_each_row_has_its_own_target(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    rows = [digits[0], digits[0], digits[0]]
    beside = [{"target": 2}, {}, {"target": 7}]
    answer = ask_one(handler, v1(*(row.tolist() for row in rows), explain=True, beside=beside, targets=True))
    explained = np.asarray(answer.outputs["explain"])
    own = int(ask_one(handler, v2(digits[0])).outputs["predict"][0])
    assert np.asarray(answer.outputs["target"]).tolist() == [2, own, 7]
    assert answer.parameters == {"targets": f"2,{own},7"}
    for target, one in zip((2, own, 7), explained):
        alone = ask_one(handler, v2(digits[0], explain=True, target=target))
        np.testing.assert_allclose(alone.outputs["explain"][0], one, **CLOSE)


def test_the_same_seed_gives_the_same_noise(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    def explained(seed: int) -> Any:
        request = v2(digits[:2], explain=True, method="gradient_shap", stdevs=0.5, seed=seed)
        return ask_one(handler, request).outputs["explain"]

    before = (torch.random.get_rng_state(), np.random.get_state()[1].copy())
    assert np.array_equal(explained(1), explained(1))
    assert not np.array_equal(explained(1), explained(2))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"method": "magic"}, "parameter method: 'magic' is not one of integrated_gradients, saliency"),
        ({"n_steps": 0}, "parameter n_steps: 0 is not a whole number from 1 to 200"),
        ({"n_steps": 1000}, "from 1 to 200"),
        ({"n_steps": 1.5}, "whole number"),
        ({"baselines": float("nan")}, "parameter baselines"),
        ({"baselines": True}, "parameter baselines"),
        ({"method": "saliency", "n_steps": 5}, "method saliency has no parameter 'n_steps'; it takes none"),
        ({"method": "saliency", "convergence_delta": True}, "saliency has no convergence_delta"),
        ({"convergence_delta": "yes"}, "'yes' is not true or false"),
        ({"method": "occlusion", "window": 29}, "from 1 to 28"),
        ({"window": 2}, "integrated_gradients has no parameter 'window'"),
        ({"steps": 2}, "unknown parameter 'steps'"),
        ({"target": 10}, "row 0: target 10 is not a class from 0 to 9"),
        ({"target": "1,2"}, "2 targets for 1 rows"),
        ({"target": "x"}, "target 'x' is not a class"),
        ({"target": True}, "target True is not a class"),
    ],
)
def test_parameters_are_checked(
    parameters: Dict[str, Any], words: str, handler: RowHandler, digits: np.ndarray[Any, Any]
) -> None:
    assert words in refusal(handler, v2(digits[0], explain=True, **parameters)).message


def test_too_many_windows_are_refused(digits: np.ndarray[Any, Any]) -> None:
    from mnist_handler.explain.attributions import check_windows
    from mnist_handler.requests import RequestError

    check_windows([(3, 224, 224)], {"window": 32, "strides": 16})
    with pytest.raises(RequestError, match="at most 1024"):
        check_windows([(3, 224, 224)], {"window": 4, "strides": 2})


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_out_of_memory_is_narrowed_down(
    method: str, side_by_side: bool, model: torch.nn.Module, model_inputs: torch.Tensor
) -> None:
    """A model whose device holds 3 rows at once gives what an unbounded one gives."""

    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            if len(rows) > 3:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            scores: torch.Tensor = self.inner(rows)
            return scores

    settings_of = {"n_steps": 15, "baselines": 0.0, "window": 4, "strides": 2, "n_samples": 1, "stdevs": 0.0, "seed": 0}
    targets = torch.tensor(TARGETS)
    small, failed = Explainer(Small(), 64, side_by_side).attribute(method, [model_inputs], targets, settings_of)
    large, none = Explainer(model, 64).attribute(method, [model_inputs], targets, settings_of)
    assert failed == none == {}
    assert small is not None
    assert large is not None
    if method != "gradient_shap":
        torch.testing.assert_close(small[0], large[0], **CLOSE)


@pytest.mark.parametrize(("rows", "limit"), [(1, 64), (2, 1), (2, 2), (2, 16), (3, 3), (5, 64), (12, 7), (12, 64)])
def test_halves_side_by_side_are_what_one_call_gives(
    rows: int, limit: int, model: torch.nn.Module, model_inputs: torch.Tensor
) -> None:
    """Within one limit for both, and only where there is more than that to do."""
    lock = threading.Lock()
    most: List[int] = [0]
    now: List[int] = [0]
    threads = set()

    class Counted(torch.nn.Module):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            with lock:
                now[0] += len(given)
                most[0] = max(most[0], now[0])
                threads.add(threading.get_ident())
            scores: torch.Tensor = model(given)
            with lock:
                now[0] -= len(given)
            return scores

    call = ([model_inputs[:rows]], torch.tensor(TARGETS[:rows]), {"n_steps": 15, "baselines": 0.0})
    halves, _ = Explainer(Counted(), limit, side_by_side=True).attribute("integrated_gradients", *call)
    whole, _ = Explainer(model, 1024).attribute("integrated_gradients", *call)
    assert halves is not None
    assert whole is not None
    torch.testing.assert_close(halves[0], whole[0], **CLOSE)
    assert most[0] <= limit
    assert len(threads) == (2 if rows > 1 and limit > 1 and rows * 15 > limit else 1)


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients"])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_rows_that_do_not_fit_alone_are_named(side_by_side: bool, method: str, model_inputs: torch.Tensor) -> None:
    class Full(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            raise MemoryError

    attributions, failed = Explainer(Full(), 8, side_by_side).attribute(
        method, [model_inputs], torch.tensor(TARGETS), {"baselines": 0.0, "n_steps": 15}
    )
    assert attributions is None
    assert sorted(failed) == list(range(12))


def test_complete_methods_are_known(handler: RowHandler) -> None:
    assert handler._explanations is not None
    assert set(COMPLETE) < set(handler._explanations.methods) == set(METHODS)
