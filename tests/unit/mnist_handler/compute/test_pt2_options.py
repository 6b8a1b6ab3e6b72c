"""TorchServe's pt2: is honoured, or refused by name."""

from __future__ import annotations

from typing import Any, Dict, Optional

import pytest

from mnist_handler.compute.pt2_options import apply_pt2
from mnist_handler.config import ConfigError, HandlerConfig, parse_config


@pytest.mark.parametrize(
    ("pt2", "compile", "options"),
    [
        (None, "auto", None),
        ("inductor", "inductor", None),
        ("eager", "none", None),
        ({"backend": "inductor", "mode": "reduce-overhead"}, "inductor", {"mode": "reduce-overhead"}),
        ({"mode": "max-autotune"}, "inductor", {"mode": "max-autotune"}),
        ({"compile": {"enable": True}}, "inductor", None),
        ({"compile": {"enable": True, "backend": "inductor", "fullgraph": True}}, "inductor", {"fullgraph": True}),
        ({"compile": {"enable": False, "backend": "tensorrt"}}, "auto", None),
        ({"export": {"aot_compile": True}}, "ahead", None),
        ({"export": {"aot_compile": False}}, "auto", None),
        ({"compile": {"enable": False}, "export": {"aot_compile": True}}, "ahead", None),
    ],
)
def test_what_is_honoured(pt2: Any, compile: str, options: Optional[Dict[str, Any]]) -> None:
    config = apply_pt2(HandlerConfig(precision="bf16"), {"minWorkers": 1, "pt2": pt2})
    assert (config.precision, config.compile, config.compile_options) == ("bf16", compile, options)


@pytest.mark.parametrize(
    ("pt2", "words"),
    [
        ("openvino", "pt2: the backend 'openvino' is not served here, only inductor, eager"),
        ({"compile": {"enable": True, "backend": "tensorrt"}}, "pt2.compile: the backend 'tensorrt'"),
        ({"compile": {"enable": True, "speed": 11}}, "unknown speed; known are dynamic, fullgraph, mode, options"),
        ({"backend": "eager", "mode": "default"}, "are for compile: inductor, not none"),
        ({"compile": {"enable": "yes"}}, "pt2.compile: must be a mapping with enable: true or false"),
        ({"export": True}, "pt2.export: must be a mapping with aot_compile"),
        ({"export": {"aot_compile": True, "strict": False}}, "pt2.export: unknown strict"),
        ({"compile": {"enable": True}, "nvfuser": {}}, "pt2: unknown nvfuser; known are compile, export"),
        ({"compile": {"enable": True}, "export": {"aot_compile": True}}, "are both true"),
        (["inductor"], "pt2: must be a backend's name or a mapping, not list"),
    ],
)
def test_what_is_refused_is_named(pt2: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_pt2(HandlerConfig(), {"pt2": pt2})
    assert words in str(caught.value)


def test_two_answers_to_one_question_are_refused() -> None:
    assert apply_pt2(HandlerConfig(compile="inductor"), {"pt2": "inductor"}).compile == "inductor"
    with pytest.raises(ConfigError, match=r"pt2 means handler\.compile: inductor, which says torchscript"):
        apply_pt2(HandlerConfig(compile="torchscript"), {"pt2": "inductor"})
    config = parse_config({"compile": "inductor", "compile_options": {"mode": "default"}})
    with pytest.raises(ConfigError, match="both have options"):
        apply_pt2(config, {"pt2": {"mode": "max-autotune"}})
