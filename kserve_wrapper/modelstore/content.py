"""What config.properties says of names, envelope, metrics and models, wherever it is served from."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Iterator, List, Mapping, Optional

from kserve_wrapper.modelstore.findings import Finding, error, warning
from kserve_wrapper.modelstore.loaded import check_loaded
from kserve_wrapper.modelstore.places import place, value
from kserve_wrapper.modelstore.snapshot import SnapshotCheck
from kserve_wrapper.torchserve.config import ENVIRONMENT, Setting

#: The envelopes that TorchServe has, 0.9 to 0.12.
ENVELOPES = ("body", "json", "kserve", "kservev2")
#: The envelope that each protocol needs of a handler which brings none.
ENVELOPE_OF = {"v1": "kserve", "v2": "kservev2", "grpc-v2": "kservev2"}
#: Properties without a variable (TorchServe's ConfigManager and launcher), and one that is no longer any.
_OTHERS = """
enable_envvars_config io_ratio metric_time_interval metrics_format model_snapshot models plugins_path python
system_metrics_cmd use_env_allowed_urls use_native_io version vmargs
"""
PROPERTIES = frozenset(ENVIRONMENT.values()) | frozenset(_OTHERS.split())
#: How alike two names must be for one to pass for a slip of the other (difflib's ratio).
_ALIKE = 0.85
#: As Latin-1, which TorchServe reads.
_BYTE_ORDER_MARK = "\u00ef\u00bb\u00bf"


def check_content(
    file: Path, settings: Mapping[str, Setting], store: Path, protocol: Optional[str] = None
) -> List[Finding]:
    """The findings that depend on file, arguments and archives alone, not on where they are mounted.

    Args:
        file: config.properties.
        settings: what it comes to with arguments and environment.
        store: the directory of the archives.
        protocol: v1, v2 or grpc-v2: also check that the configured envelope is this protocol's.
    """
    findings = [*_names(file, settings), *_envelope(file, settings, protocol), *_metrics(file, settings)]
    setting = settings.get("model_snapshot")
    if setting is not None:
        shared = value(settings, "inference_address") == value(settings, "management_address")
        envelope = value(settings, "service_envelope") or None
        findings += SnapshotCheck(*place(file, setting), setting.value, store, shared, envelope).findings()
    else:
        findings += check_loaded(file, settings, store)
    return findings


def _names(file: Path, settings: Mapping[str, Setting]) -> Iterator[Finding]:
    """TorchServe ignores what it does not know; a plugin's property is nobody's slip."""
    for key in sorted(set(settings) - PROPERTIES):
        if key.startswith(_BYTE_ORDER_MARK):
            first = key[len(_BYTE_ORDER_MARK) :]
            problem = f"the file begins with a byte-order mark, so that TorchServe does not know its first key, {first}"
            yield error(*place(file, settings[key]), problem, "Save it as UTF-8 without a byte-order mark")
            continue
        meant = difflib.get_close_matches(key, PROPERTIES, 1, _ALIKE)
        if meant:
            problem = f"{key} is no property of TorchServe, which ignores it"
            yield warning(*place(file, settings[key]), problem, f"Did you mean {meant[0]}")


def _envelope(file: Path, settings: Mapping[str, Setting], protocol: Optional[str]) -> Iterator[Finding]:
    setting = settings.get("service_envelope")
    wanted = ENVELOPE_OF.get(protocol or "")
    if setting is not None and setting.value not in ENVELOPES:
        yield error(
            *place(file, setting),
            f"service_envelope={setting.value}: TorchServe has no such envelope, so no worker starts",
            f"Write service_envelope={wanted or 'kserve (V1) or kservev2 (V2, gRPC)'}",
        )
    elif setting is not None and wanted and setting.value != wanted:
        yield warning(
            *place(file, setting),
            f"service_envelope={setting.value} does not speak {protocol} for a handler without an envelope of its own",
            f"Write service_envelope={wanted}",
        )


def _metrics(file: Path, settings: Mapping[str, Setting]) -> Iterator[Finding]:
    if value(settings, "metrics_mode") not in ("prometheus", "legacy"):
        old = "metrics_format has no effect since TorchServe 0.8" if "metrics_format" in settings else "unset"
        yield warning(
            *place(file, settings.get("metrics_mode") or settings.get("metrics_format")),
            f"TorchServe's metrics go to its log and not to metrics_address (metrics_mode: {old})",
            "Write metrics_mode=prometheus",
        )
