"""What float32 means on a GPU, and weights of another type."""

from __future__ import annotations

import contextlib
from typing import Iterator, List

import pytest
import torch

from mnist_handler.compute.compiled import compile_model
from mnist_handler.compute.device import full_float32, set_tf32
from mnist_handler.config import ConfigError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def float32() -> List[object]:
    return [torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    yield
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision(products)


@pytest.mark.parametrize(("allowed", "products"), [(True, "high"), (False, "highest")])
def test_tf32_is_said_for_convolutions_and_products(allowed: bool, products: str) -> None:
    set_tf32(GPU, not allowed)
    set_tf32(GPU, allowed)
    assert float32() == [allowed, products]


def test_a_cpu_is_left_alone() -> None:
    before = float32()
    set_tf32(CPU, before[1] == "highest")
    assert float32() == before


def test_full_float32_ends() -> None:
    set_tf32(GPU, True)
    with contextlib.suppress(ZeroDivisionError), full_float32():
        assert float32() == [False, "highest"]
        raise ZeroDivisionError
    assert float32() == [True, "high"]


class Mixes(torch.nn.Module):
    """Adds a float32 tensor of its own before a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layer(rows + torch.ones(3))


def test_a_model_that_mixes_datatypes_is_told_what_to_do() -> None:
    compile_model(Mixes(), "none", "fp32", CPU, [torch.zeros(2, 3)])
    with pytest.raises(ConfigError, match=r"handler.precision: the model mixes datatypes .* bf16 .*; set fp32"):
        compile_model(Mixes(), "none", "bf16", CPU, [torch.zeros(2, 3)])


def test_the_weights_are_cast_once_and_the_scores_are_float32() -> None:
    model = torch.nn.Linear(3, 2)
    (forward,) = compile_model(model, "none", "bf16", CPU, [torch.zeros(2, 3)])
    assert forward(torch.ones(2, 3)).dtype == torch.float32
    assert model.weight.dtype == torch.float32
