"""TorchServe's ``pt2:`` in model-config.yaml: honoured as settings of ``handler:``, or refused by name.

TorchServe's own handlers read it after ``torch.compile`` came: ``pt2: inductor``, ``pt2: {backend: …}``, and since 0.11
``pt2: {compile: {enable: true, backend: …}}`` or ``pt2: {export: {aot_compile: true}}``.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, Mapping, Optional, Tuple

from mnist_handler.config import ConfigError, HandlerConfig, parse_config

#: TorchServe's backends of ``torch.compile`` that mean a setting here.
BACKENDS = {"inductor": "inductor", "eager": "none"}


def apply_pt2(config: HandlerConfig, model_config: Optional[Mapping[str, Any]]) -> HandlerConfig:
    """The settings with what ``pt2:`` asks for.

    Raises:
        ConfigError: an option or a backend that is not served here, or one that contradicts ``handler.compile``.
    """
    value = (model_config or {}).get("pt2")
    if value is None:
        return config
    compile, options = _read(value)
    if compile is None:
        return config
    if config.compile not in ("auto", compile):
        raise ConfigError(f"pt2 means handler.compile: {compile}, which says {config.compile}: leave one of them out")
    if options and config.compile_options is not None:
        raise ConfigError("pt2 and handler.compile_options both have options of torch.compile: leave one of them out")
    checked = parse_config({"compile": compile, **({"compile_options": options} if options else {})})
    made = checked.compile_options if options else config.compile_options
    return dataclasses.replace(config, compile=compile, compile_options=made)


def _read(value: Any) -> Tuple[Optional[str], Dict[str, Any]]:
    """The ``handler.compile`` that it means, None if none, and options of ``torch.compile``."""
    if isinstance(value, str):
        return _backend({"backend": value}, "pt2")
    if not isinstance(value, Mapping):
        raise ConfigError(f"pt2: must be a backend's name or a mapping, not {type(value).__name__}")
    if not {"compile", "export"} & set(value):
        return _backend(value, "pt2")
    _known(value, ("compile", "export"), "pt2")
    compiles, exports = value.get("compile"), value.get("export")
    wants_ahead = exports is not None and _flag(exports, "aot_compile", "pt2.export")
    if exports is not None:
        _known(exports, ("aot_compile",), "pt2.export")
    if compiles is None or not _flag(compiles, "enable", "pt2.compile"):
        return ("ahead" if wants_ahead else None), {}
    if wants_ahead:
        raise ConfigError("pt2: compile.enable and export.aot_compile are both true: leave one of them out")
    return _backend({key: one for key, one in compiles.items() if key != "enable"}, "pt2.compile")


def _backend(given: Mapping[str, Any], where: str) -> Tuple[str, Dict[str, Any]]:
    options = dict(given)
    backend = options.pop("backend", "inductor")
    if backend not in BACKENDS:
        raise ConfigError(f"{where}: the backend {backend!r} is not served here, only {', '.join(BACKENDS)}")
    return BACKENDS[backend], options


def _flag(section: Any, key: str, where: str) -> bool:
    value = section.get(key, False) if isinstance(section, Mapping) else None
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: must be a mapping with {key}: true or false")
    return value


def _known(section: Mapping[str, Any], known: Tuple[str, ...], where: str) -> None:
    unknown = sorted(str(key) for key in section if key not in known)
    if unknown:
        raise ConfigError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(known)}")
