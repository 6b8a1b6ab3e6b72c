"""Checks a model directory before anything is started or uploaded; nothing in it is changed, or run unasked."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Iterator, List, Mapping, Optional

from kserve_wrapper.modelstore import trial
from kserve_wrapper.modelstore.content import check_content
from kserve_wrapper.modelstore.findings import Finding, Severity, error, of_config_error, warning
from kserve_wrapper.modelstore.places import place, value
from kserve_wrapper.modelstore.ports import check_ports
from kserve_wrapper.modelstore.snapshot import EXAMPLE
from kserve_wrapper.torchserve import archive, config, properties
from kserve_wrapper.torchserve.config import Setting
from kserve_wrapper.torchserve.properties import ConfigError
from kserve_wrapper.upstream import address

CONFIG = Path("config") / "config.properties"
STORE = Path("model-store")
#: Where KServe mounts the directory in the pod.
MOUNT = "/mnt/models"


def check(
    directory: Path,
    protocol: Optional[str] = None,
    environ: Optional[Mapping[str, str]] = None,
    load: bool = False,
) -> List[Finding]:
    """All findings, errors and warnings, in the order of the files.

    Args:
        directory: what KServe mounts at /mnt/models, with ``config/`` and ``model-store/`` in it.
        protocol: v1, v2 or grpc-v2: also check that the configured envelope is this protocol's.
        environ: the pod's variables, for ``$$NAME$$`` and TS_*; none are assumed.
        load: also load each archive that has no error once, in a process of its own, which runs its code.
    """
    findings = list(_layout(directory))
    file = directory / CONFIG
    if not file.is_file():
        return findings
    try:
        entries = properties.parse(properties.read(file), str(file))
        settings = config.effective(entries, str(file), environ or {}, {})
    except ConfigError as problem:
        return [*findings, of_config_error(file, problem)]
    lines = {key: entry.line for key, entry in entries.items()}
    findings += check_ports(file, settings, lines)
    findings += _paths(file, settings, lines)
    findings += _variables(file, settings)
    findings += _exposed(file, settings, lines)
    findings += [*check_content(file, settings, directory / STORE, protocol), *_nothing(file, settings)]
    return [*findings, *_loads(directory / STORE, settings, findings)] if load else findings


def _loads(store: Path, settings: Mapping[str, Setting], findings: List[Finding]) -> Iterator[Finding]:
    wrong = {finding.file for finding in findings if finding.severity is Severity.ERROR}
    for path in sorted(store.glob("*.mar")):
        with contextlib.suppress(archive.ArchiveError):
            found = archive.read(path)
            if path not in wrong and found.handler:
                yield from trial.check_load(found, envelope=value(settings, "service_envelope") or None)


def _layout(directory: Path) -> Iterator[Finding]:
    if not directory.is_dir():
        yield error(directory, None, "no such directory", "Give the directory that holds config and model-store")
        return
    for part, what in ((CONFIG, "TorchServe's configuration is"), (STORE, "the model archives are")):
        if not (directory / part).exists():
            inside = sorted(path.parent for path in directory.glob(f"*/{STORE}"))
            hint = f"Did you mean {inside[0]}" if inside else "Put that there, or let `write` make it"
            yield error(directory / part, None, f"{what} missing", hint)


def _paths(file: Path, settings: Mapping[str, Setting], lines: Mapping[str, int]) -> Iterator[Finding]:
    usual = f"{MOUNT}/{STORE}"
    store = settings.get("model_store")
    if store is None or store.value.rstrip("/") != usual:
        found = f"is {store.value}" if store else "is not set"
        yield warning(
            file,
            lines.get("model_store"),
            f"model_store {found}, and KServe mounts at {MOUNT} (an argument --model-store would win)",
            f"Write model_store={usual}",
        )


def _variables(file: Path, settings: Mapping[str, Setting]) -> Iterator[Finding]:
    if "service_envelope" not in settings and value(settings, "enable_envvars_config") != "true":
        yield warning(
            *place(file, settings.get("enable_envvars_config")),
            "KServe's TS_SERVICE_ENVELOPE is not read and no service_envelope is set",
            "Write enable_envvars_config=true",
        )


def _exposed(file: Path, settings: Mapping[str, Setting], lines: Mapping[str, int]) -> Iterator[Finding]:
    """Who manages TorchServe may make it load code, so the address is for the wrapper alone."""
    setting = settings.get("management_address")
    if setting is None or value(settings, "disable_token_authorization") != "true":
        return
    try:
        loopback = address.parse(setting.value, "management").bind in ("127.0.0.1", "localhost")
    except ValueError:
        return  # The ports' check tells it.
    if not loopback:
        yield warning(
            file,
            lines.get("management_address"),
            f"management_address={setting.value} without token authorization: whoever reaches the pod "
            "may load code into it",
            "Write management_address=http://127.0.0.1:8086; the wrapper is in the same container",
        )


def _nothing(file: Path, settings: Mapping[str, Setting]) -> Iterator[Finding]:
    if "model_snapshot" not in settings and not value(settings, "load_models"):
        problem = "neither model_snapshot nor load_models is set, so no model is served"
        yield error(file, None, problem, f"Write {EXAMPLE}")
