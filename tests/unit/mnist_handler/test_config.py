from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Dict, Optional

import pytest
import torch

from mnist_handler.compute import compiled
from mnist_handler.compute.compiled import choose_mode
from mnist_handler.config import ConfigError, HandlerConfig, parse_config
from tests.unit.mnist_handler.conftest import start


def test_without_a_section_the_defaults_hold() -> None:
    assert parse_config(None) == parse_config({}) == HandlerConfig()


def test_values_are_taken() -> None:
    config = parse_config({"batch_buckets": [4, 1, 4], "max_batch_size": 4, "precision": "bf16"})
    assert (config.batch_buckets, config.max_batch_size, config.precision) == ((1, 4), 4, "bf16")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"batch": 1, "presicion": "fp32"}, "unknown batch, presicion; known are precision, compile"),
        ({"precision": "fp8"}, "handler.precision: 'fp8' is none of fp32, bf16, fp16"),
        ({"max_batch_size": 0}, "handler.max_batch_size: must be a whole number from 1 to 4096, not 0"),
        ({"intra_op_threads": True}, "handler.intra_op_threads: must be a whole number"),
        ({"batch_buckets": []}, "handler.batch_buckets: name at least one"),
        ({"batch_buckets": [128]}, "128 rows are more than max_batch_size"),
        ({"decode_threads": -1}, "handler.decode_threads: must be a whole number from 0 to 1024"),
        ({"jpeg_reducing_gap": 0.5}, "handler.jpeg_reducing_gap: must be a number from 1 to 16, not 0.5"),
        ({"jpeg_reducing_gap": False}, "handler.jpeg_reducing_gap: must be a number"),
        ({"metrics": "yes"}, "handler.metrics: must be true or false"),
        ({"tf32": 1}, "handler.tf32: must be true or false"),
        ({"internal_batch_size": 0}, "handler.internal_batch_size: must be a whole number from 1 to 65536"),
        ({"metrics_interval": -1}, "handler.metrics_interval: must be a number from 0"),
        ({"compile_options": {"mode": "default"}}, "handler.compile_options: are for compile: inductor, not auto"),
        ({"compile": "inductor", "compile_options": 7}, "handler.compile_options: must be a mapping, not int"),
        ({"compile": "inductor", "compile_options": {"x": 1}}, "handler.compile_options: unknown x; known are dynamic"),
        ([1], "handler: must be a mapping"),
    ],
)
def test_what_is_wrong_is_named(section: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(section)
    assert words in str(caught.value)


@pytest.mark.parametrize("section", [{"precision": "fp16"}, {"compile": "cuda_graph"}])
def test_a_cpu_refuses_what_needs_a_gpu(section: Dict[str, Any], archive: Path) -> None:
    with pytest.raises(ConfigError, match="needs a GPU"):
        start(archive, section)


def test_auto_depends_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "NO_TORCHSCRIPT", (4, 0))
    assert choose_mode("auto", "fp32", torch.device("cpu"), fixed=True) == "torchscript"
    assert choose_mode("auto", "fp16", torch.device("cuda"), fixed=True) == "cuda_graph"
    assert choose_mode("none", "fp32", torch.device("cuda"), fixed=True) == "none"


def test_torchscript_ends_with_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "NO_TORCHSCRIPT", (3, 0))
    assert choose_mode("auto", "fp32", torch.device("cpu"), fixed=True) == "none"
    with pytest.raises(ConfigError, match=r"torchscript does not work on Python 3\.14"):
        choose_mode("torchscript", "fp32", torch.device("cpu"), fixed=True)


def test_inductor_on_a_cpu_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/bin/g++" if name == "g++" else None)
    monkeypatch.delenv("CXX", raising=False)
    assert choose_mode("inductor", "fp32", torch.device("cpu"), fixed=True) == "inductor"
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"inductor needs a C\+\+ compiler"):
        choose_mode("inductor", "fp32", torch.device("cpu"), fixed=True)


@pytest.mark.parametrize(
    ("found", "named", "good"),
    [("gcc", None, True), ("clang", None, True), ("cc", None, False), ("gcc", "mine", False), ("mine", "mine", True)],
)
def test_inductor_on_a_gpu_needs_a_compiler(
    found: str, named: Optional[str], good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}" if name == found else None)
    monkeypatch.delenv("CC", raising=False)
    if named is not None:
        monkeypatch.setenv("CC", named)
    with nullcontext() if good else pytest.raises(ConfigError, match="inductor needs a C compiler on a GPU"):
        assert choose_mode("inductor", "fp32", torch.device("cuda"), fixed=True) == "inductor"


def test_rows_of_any_length_have_no_cuda_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "NO_TORCHSCRIPT", (4, 0))
    assert choose_mode("auto", "fp32", torch.device("cpu"), fixed=False) == "torchscript"
    assert choose_mode("auto", "fp32", torch.device("cuda"), fixed=False) == "none"
    with pytest.raises(ConfigError, match="cuda_graph needs rows of one shape"):
        choose_mode("cuda_graph", "fp32", torch.device("cuda"), fixed=False)
