"""The ``handler:`` section of ``model-config.yaml``: what may be set, in which unit, checked when the model loads."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Tuple, Union

PRECISIONS = ("fp32", "bf16", "fp16")
TENSORS = ("unit", "normalized")
TENSORS_VARIABLE = "MNIST_HANDLER_TENSORS"
#: What ``torch.compile`` takes beside the model and the backend.
COMPILE_OPTIONS = ("dynamic", "fullgraph", "mode", "options")
COMPILE_MODES = ("auto", "ahead", "none", "torchscript", "inductor", "cuda_graph")
#: Pillow's own default: a decoded picture of 256 MiB at 24 bits a pixel.
DEFAULT_IMAGE_PIXELS = 89_478_485


class ConfigError(ValueError):
    """The ``handler:`` section is wrong; the message names the key and what it may be."""


@dataclass(frozen=True)
class HandlerConfig:
    """How one worker runs its model. Where the archive has no config file, these defaults hold."""

    #: ``fp32``; ``bf16`` or ``fp16`` (CUDA alone): weights and activations in that type, scores in float32.
    precision: str = "fp32"
    #: ``auto`` = ``ahead``, what was compiled when the archive was built, where that is for what is here. Else on a CPU
    #: TorchScript, frozen and fused, and on a GPU CUDA graphs, none where rows have no fixed shape; and none where the
    #: model branches on values, or the compiled one does not answer as the eager one.
    compile: str = "auto"
    #: With ``compile: inductor``, what ``torch.compile`` gets beside: mode, dynamic (true), fullgraph, options.
    compile_options: Optional[Mapping[str, Any]] = None
    #: On a GPU: whether float32 convolutions and matrix products may use TF32 (10 bits of mantissa) where the
    #: hardware has it. TorchServe's stock handlers do.
    tf32: bool = True
    #: Threads inside one operator; 0 = half of the processors that this worker may use, at least 1.
    intra_op_threads: int = 0
    #: Rows that the device takes at once; longer batches go in chunks. 1 to 4096.
    max_batch_size: int = 64
    #: Batch sizes (rows) made ready before the worker reports ready; others are padded up to the next.
    #: None = every size to 16, then in steps of at most an eighth, up to ``max_batch_size``.
    batch_buckets: Optional[Tuple[int, ...]] = None
    #: Seconds that warming up may take; batch sizes beyond are left cold. TorchServe ends a load after 120 by default.
    warm_up_seconds: float = 45.0
    #: Rows times steps that an attribution holds on the device at once (Captum's ``internal_batch_size``).
    #: None = 64 on a CPU; on a GPU as many as half of its free memory holds, measured at load, 64 to 4096.
    internal_batch_size: Optional[int] = None
    #: Dotted name of the layer whose maps the explanation method ``grad_cam`` weighs, the last convolution's as a rule.
    explain_layer: Optional[str] = None
    #: Pixels that an encoded image may have. TorchServe's ``limit_max_image_pixels: false`` lifts it.
    max_image_pixels: int = DEFAULT_IMAGE_PIXELS
    #: Threads that decode the images of a batch; 0 = as many as this worker's share of the processors.
    decode_threads: int = 0
    #: Pillow's word: a JPEG is decoded at a half, a quarter or an eighth of its size where that is at least so many
    #: times as large as the row needs. 0 = always in full; 1 to 16.
    jpeg_reducing_gap: float = 0.0
    #: Whether a GPU decodes and resizes plain JPEGs, by nvJPEG through torchvision.
    nvjpeg: bool = False
    #: What an image's floats mean where the request does not say: ``unit`` = 0..1, ``normalized`` = as the model takes
    #: them. Where it is left out, the environment variable ``MNIST_HANDLER_TENSORS`` may say it.
    tensors: str = "unit"
    #: Whether encoded images are turned upright as their Exif says, as a phone's pictures need.
    exif_orientation: bool = True
    #: Whether times and rows go to TorchServe's metrics.
    metrics: bool = True
    #: Seconds between two reports; the values in between are summed up. 0 = every batch. TorchServe's own lines for
    #: each batch come no more often either.
    metrics_interval: float = 1.0


def parse_config(section: Optional[Mapping[str, Any]]) -> HandlerConfig:
    """Read the ``handler:`` section.

    Raises:
        ConfigError: an unknown key, a value of the wrong kind or out of its range.
    """
    if section is None:
        section = {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"handler: must be a mapping of settings, not {type(section).__name__}")
    known = [f.name for f in dataclasses.fields(HandlerConfig)]
    unknown = sorted(str(key) for key in section if key not in known)
    if unknown:
        raise ConfigError(f"handler: unknown {', '.join(unknown)}; known are {', '.join(known)}")
    values = dict(section)
    if TENSORS_VARIABLE in os.environ:
        values.setdefault("tensors", os.environ[TENSORS_VARIABLE])
    if values.get("batch_buckets") is not None:
        values["batch_buckets"] = _sizes(values["batch_buckets"])
    config = HandlerConfig(**values)
    _check(config)
    return config


def warm_up_limit(config: HandlerConfig, model_config: Optional[Mapping[str, Any]]) -> float:
    """Seconds for warming up: what is set, and at most half of the model's ``startupTimeout`` where it has one."""
    limit = (model_config or {}).get("startupTimeout")
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit <= 0:
        return config.warm_up_seconds
    return min(config.warm_up_seconds, limit / 2)


def _check(config: HandlerConfig) -> None:
    _choice("precision", config.precision, PRECISIONS)
    _choice("tensors", config.tensors, TENSORS)
    _choice("compile", config.compile, COMPILE_MODES)
    if config.compile_options is not None:
        _check_options(config.compile, config.compile_options)
    _integer("intra_op_threads", config.intra_op_threads, 0, 1024)
    _integer("decode_threads", config.decode_threads, 0, 1024)
    if config.jpeg_reducing_gap != 0 or isinstance(config.jpeg_reducing_gap, bool):
        _number("jpeg_reducing_gap", config.jpeg_reducing_gap, 1.0, 16.0)
    _integer("max_batch_size", config.max_batch_size, 1, 4096)
    _number("warm_up_seconds", config.warm_up_seconds, 0.0, 3600.0)
    if config.internal_batch_size is not None:
        _integer("internal_batch_size", config.internal_batch_size, 1, 65536)
    _integer("max_image_pixels", config.max_image_pixels, 1, 2**40)
    if config.explain_layer is not None and (not isinstance(config.explain_layer, str) or not config.explain_layer):
        raise ConfigError(f"handler.explain_layer: must be the name of a layer, not {config.explain_layer!r}")
    _flag("tf32", config.tf32)
    _flag("metrics", config.metrics)
    _flag("nvjpeg", config.nvjpeg)
    _flag("exif_orientation", config.exif_orientation)
    _number("metrics_interval", config.metrics_interval, 0.0, 3600.0)
    if config.batch_buckets is not None and config.batch_buckets[-1] > config.max_batch_size:
        largest = config.batch_buckets[-1]
        raise ConfigError(
            f"handler.batch_buckets: {largest} rows are more than max_batch_size ({config.max_batch_size})"
        )


def _check_options(mode: str, options: Any) -> None:
    if mode != "inductor":
        raise ConfigError(f"handler.compile_options: are for compile: inductor, not {mode}")
    if not isinstance(options, Mapping):
        raise ConfigError(f"handler.compile_options: must be a mapping, not {type(options).__name__}")
    unknown = sorted(str(key) for key in options if key not in COMPILE_OPTIONS)
    if unknown:
        raise ConfigError(
            f"handler.compile_options: unknown {', '.join(unknown)}; known are {', '.join(COMPILE_OPTIONS)}"
        )


def _choice(key: str, value: Any, choices: Tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"handler.{key}: {value!r} is none of {', '.join(choices)}")


def _flag(key: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"handler.{key}: must be true or false, not {value!r}")


def _integer(key: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"handler.{key}: must be a whole number from {low} to {high}, not {value!r}")


def _number(key: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"handler.{key}: must be a number from {low:g} to {high:g}, not {value!r}")


def _sizes(value: Union[int, Any]) -> Tuple[int, ...]:
    sizes = value if isinstance(value, (list, tuple)) else [value]
    for size in sizes:
        _integer("batch_buckets", size, 1, 4096)
    if not sizes:
        raise ConfigError("handler.batch_buckets: name at least one batch size, or leave it out")
    return tuple(sorted(set(sizes)))
