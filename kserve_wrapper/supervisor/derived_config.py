"""The config.properties that TorchServe is started with: the user's, and what has to be otherwise in this place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Collection, Dict, Mapping, Optional

from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.torchserve import properties
from kserve_wrapper.torchserve.config import COMMAND_LINE, TorchServeConfig
from kserve_wrapper.upstream.address import Address

#: Addresses that stay on loopback unless they are exposed.
ADDRESSES = ("inference", "management", "metrics")
_PATHS = (
    "model_store",
    "workflow_store",
    "metrics_config",
    "certificate_file",
    "private_key_file",
    "keystore",
    "cpp_log_config",
)


def derive(properties_path: Path, overrides: Mapping[str, str]) -> str:
    """The file's text with some properties set.

    Raises:
        ConfigError: the file cannot be read.
    """
    return properties.derive(properties.read(properties_path), overrides)


def overrides(config: TorchServeConfig, expose: Collection[str], asks_for_tokens: bool, cwd: Path) -> Dict[str, str]:
    """Properties that must differ from the file for a TorchServe that this process starts.

    * Addresses are bound to loopback, unless exposed: clients reach the wrapper alone, and the management address can
      load code.
    * Where token authorization is on and one address serves inference and management, management gets a port of its
      own: TorchServe would ask each management call for two keys at once, which no request can carry.
    * Relative paths become absolute: TorchServe runs in a directory of its own, where it writes its keys.

    Args:
        config: file, environment and command line taken together.
        expose: purposes whose address keeps the host that the file gives it.
    """
    changed = {key: s.value for key, s in config.settings.items() if s.where == COMMAND_LINE}
    for purpose in ADDRESSES:
        address: Address = getattr(config, purpose)
        if purpose not in expose:
            changed[f"{purpose}_address"] = _url(address, address.host if address.loopback else "127.0.0.1")
    if config.shared_address and asks_for_tokens and not config.disable_token_authorization:
        changed["management_address"] = f"{config.management.scheme}://127.0.0.1:{free_port()}"
    changed.update(_absolute(config, cwd))
    metrics = config.path.parent / "metrics.yaml"
    if "metrics_config" not in config.settings and metrics.is_file():
        changed["metrics_config"] = str(metrics.resolve())
    return changed


def log_config(config_path: Path, named: Optional[str]) -> Path:
    """The log4j2 file: the one named, the one beside config.properties, or the wrapper's own."""
    beside = config_path.parent / "log4j2.xml"
    return Path(named) if named else beside if beside.is_file() else Path(__file__).with_name("log4j2.xml")


def _url(address: Address, host: str) -> str:
    return f"{address.scheme}://{host}:{address.port}"


def _absolute(config: TorchServeConfig, cwd: Path) -> Dict[str, str]:
    settings = config.settings
    paths = {key: settings[key].value for key in _PATHS if key in settings}
    return {key: os.path.join(cwd, value) for key, value in paths.items() if not os.path.isabs(value)}
