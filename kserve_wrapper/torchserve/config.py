"""TorchServe's configuration as TorchServe itself would see it.

Precedence, from TorchServe's ConfigManager (0.9 to 0.12): the file named by TS_CONFIG_FILE or the command
line; then ``$$NAME$$`` in any value is replaced from the environment; then command-line arguments; then, only
where ``enable_envvars_config=true``, the variables TS_* that it knows. So a variable beats an argument, and an
argument the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, TypeVar, Union

from kserve_wrapper.torchserve import properties, snapshot
from kserve_wrapper.torchserve.properties import ConfigError, Entry
from kserve_wrapper.torchserve.snapshot import SnapshotModel
from kserve_wrapper.upstream import address
from kserve_wrapper.upstream.address import Address

__all__ = ["ConfigError", "SnapshotModel", "TorchServeConfig", "effective", "load", "load_models"]

T = TypeVar("T")

#: ``Setting.where`` of what an argument gave.
COMMAND_LINE = "the command line"

# The variables that TorchServe reads where ``enable_envvars_config=true``. Source: the fields of its ConfigManager
# whose names begin with TS_ (0.12; 0.9 has fewer of them).
#: Properties whose variable is TS_ and the key in capitals …
_KEYS = """
debug inference_address management_address metrics_address load_models blacklist_env_vars
default_workers_per_model default_response_timeout default_startup_timeout unregister_model_timeout
number_of_netty_threads netty_client_threads job_queue_size number_of_gpu metrics_config
metrics_mode model_metrics_auto_detect disable_system_metrics ipex_enable cpu_launcher_enable
cpu_launcher_args ipex_gpu_enable async_logging cors_allowed_origin cors_allowed_methods
cors_allowed_headers decode_input_request keystore keystore_pass keystore_type certificate_file
private_key_file max_request_size max_response_size limit_max_image_pixels default_service_handler
service_envelope model_server_home model_store prefer_direct_buffer allowed_urls
install_py_dep_per_model enable_metrics_api grpc_inference_address grpc_management_address
grpc_inference_port grpc_management_port grpc_inference_max_connection_age_ms
grpc_management_max_connection_age_ms grpc_inference_max_connection_age_grace_ms
grpc_management_max_connection_age_grace_ms enable_grpc_ssl initial_worker_port
initial_distribution_port workflow_store cpp_log_config disable_token_authorization enable_model_api
"""
#: … and those that are named otherwise.
_RENAMED: Dict[str, str] = {
    "TS_OPEN_INFERENCE_PROTOCOL": "ts_open_inference_protocol",
    "TS_TOKEN_EXPIRATION_TIME_MIN": "token_expiration_min",
    "TS_HEADER_KEY_SEQUENCE_ID": "ts_header_key_sequence_id",
    "TS_HEADER_KEY_SEQUENCE_START": "ts_header_key_sequence_start",
    "TS_HEADER_KEY_SEQUENCE_END": "ts_header_key_sequence_end",
}
#: Variable → property.
ENVIRONMENT: Mapping[str, str] = {**{f"TS_{key.upper()}": key for key in _KEYS.split()}, **_RENAMED}

_VARIABLE = re.compile(r"\$\$([^$]+[^$])\$\$")
_INTEGER = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)


@dataclass(frozen=True)
class Setting:
    """A property's value and where it was written, for errors."""

    value: str
    where: str


@dataclass(frozen=True)
class TorchServeConfig:
    """What the wrapper must know of TorchServe. Sizes are bytes, times seconds unless named otherwise."""

    path: Path
    inference: Address
    management: Address
    metrics: Address
    grpc_inference_port: int
    grpc_management_port: int
    model_store: Optional[Path]
    #: By name and version; empty where there is no snapshot: then the registered models count.
    models: Dict[str, Dict[str, SnapshotModel]]
    load_models: Optional[str]
    job_queue_size: int
    max_request_size: int
    max_response_size: int
    default_response_timeout: int
    default_service_handler: Optional[str]
    service_envelope: Optional[str]
    disable_token_authorization: bool
    enable_model_api: bool
    enable_metrics_api: bool
    certificate_file: Optional[Path]
    #: Every property that is set, with $$NAME$$, arguments and environment applied.
    settings: Dict[str, Setting] = field(default_factory=dict, repr=False)

    @property
    def longest_response_timeout(self) -> int:
        """After so long without an answer, TorchServe has restarted a worker, whichever model it serves."""
        own = [model.response_timeout for versions in self.models.values() for model in versions.values()]
        return max([self.default_response_timeout, *own])

    @property
    def inference_address(self) -> str:
        """Where to dial, scheme://host:port; 0.0.0.0 became 127.0.0.1."""
        return str(self.inference)

    @property
    def management_address(self) -> str:
        return str(self.management)

    @property
    def metrics_address(self) -> str:
        return str(self.metrics)

    def warnings(self) -> List[str]:
        """What TorchServe accepts and yet does not do as written."""
        found = []
        if "model_snapshot" in self.settings and not self.models:
            found.append("model_snapshot has modelCount 0 or none: TorchServe loads no model from it")
        if "metrics_format" in self.settings and "metrics_mode" not in self.settings:
            found.append("metrics_format has no effect since TorchServe 0.8; write metrics_mode=prometheus")
        if self.shared_address and not self.disable_token_authorization:
            found.append(
                "inference_address and management_address are the same: with token authorization on (the "
                "default since TorchServe 0.11.1) a management call needs two different keys at once and always "
                "fails. Give management_address a port of its own, or set disable_token_authorization=true"
            )
        return found

    @property
    def shared_address(self) -> bool:
        """One port serves inference and management."""
        return (self.inference.bind, self.inference.port) == (self.management.bind, self.management.port)


def load(
    config_path: Union[str, Path], environ: Mapping[str, str], arguments: Optional[Mapping[str, str]] = None
) -> TorchServeConfig:
    """Read config.properties.

    Args:
        environ: the environment that TorchServe runs in.
        arguments: properties set on TorchServe's command line (``--model-store`` is ``model_store``).

    Raises:
        ConfigError: names the file, the line and what to write.
    """
    path = Path(config_path)
    entries = properties.parse(properties.read(path), str(path))
    return _build(path, effective(entries, str(path), environ, arguments or {}))


def effective(
    entries: Mapping[str, Entry], source: str, environ: Mapping[str, str], arguments: Mapping[str, str]
) -> Dict[str, Setting]:
    """File, arguments and environment by TorchServe's precedence (see the module)."""
    settings = {
        key: Setting(_resolve(entry, source, environ), f"{source}, line {entry.line}") for key, entry in entries.items()
    }
    settings.update({key: Setting(value, COMMAND_LINE) for key, value in arguments.items()})
    if not _true(settings, "enable_envvars_config"):
        return settings
    urls = settings.get("use_env_allowed_urls")
    for name, key in ENVIRONMENT.items():
        if key == "allowed_urls" and (urls is None or urls.value.lower() != "true"):
            continue
        if name in environ:
            settings[key] = Setting(environ[name], f"the environment variable {name}")
    return settings


def load_models(settings: Mapping[str, Setting]) -> Optional[List[str]]:
    """The archives that the property ``load_models`` names, by file name or URL; None for all of the model store.

    Each may be given as ``NAME=ARCHIVE``. A snapshot beats it in TorchServe.
    """
    text = settings["load_models"].value.strip() if "load_models" in settings else ""
    if text.lower() == "all":
        return None
    names = [item.split("=", 1)[-1].strip() for item in text.split(",")]
    return [name for name in names if name]


def _resolve(entry: Entry, source: str, environ: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environ:
            raise ConfigError(f"{source}, line {entry.line}: $${name}$$ needs the environment variable {name}. Set it.")
        return environ[name]

    return _VARIABLE.sub(replace, entry.value)


def _build(path: Path, settings: Dict[str, Setting]) -> TorchServeConfig:
    timeout = _number(settings, "default_response_timeout", 120)
    store = settings.get("model_store")
    certificate = settings.get("certificate_file")
    return TorchServeConfig(
        path=path,
        inference=_address(settings, "inference", "http://127.0.0.1:8080"),
        management=_address(settings, "management", "http://127.0.0.1:8081"),
        metrics=_address(settings, "metrics", "http://127.0.0.1:8082"),
        grpc_inference_port=_number(settings, "grpc_inference_port", 7070),
        grpc_management_port=_number(settings, "grpc_management_port", 7071),
        model_store=Path(store.value) if store else None,
        models=_models(settings, timeout),
        load_models=_text(settings, "load_models"),
        job_queue_size=_number(settings, "job_queue_size", 100),
        max_request_size=_number(settings, "max_request_size", 6553500),
        max_response_size=_number(settings, "max_response_size", 6553500),
        default_response_timeout=timeout,
        default_service_handler=_text(settings, "default_service_handler"),
        service_envelope=_text(settings, "service_envelope"),
        disable_token_authorization=_true(settings, "disable_token_authorization"),
        enable_model_api=_true(settings, "enable_model_api"),
        enable_metrics_api=_true(settings, "enable_metrics_api", "true"),
        certificate_file=Path(certificate.value) if certificate else None,
        settings=settings,
    )


def _text(settings: Mapping[str, Setting], key: str) -> Optional[str]:
    return settings[key].value if key in settings else None


def _true(settings: Mapping[str, Setting], key: str, default: str = "false") -> bool:
    # As Java's parseBoolean: any case of "true", nothing else, and no blanks around it.
    return (settings[key].value if key in settings else default).lower() == "true"


def _number(settings: Mapping[str, Setting], key: str, default: int) -> int:
    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text) or not 0 <= int(text) < 2**31:
            raise ValueError(f"'{text}' is not a whole number from 0 to 2147483647; write {key}={default}")
        return int(text)

    return _parsed(settings, key, parse, default)


def _address(settings: Mapping[str, Setting], purpose: str, default: str) -> Address:
    key = f"{purpose}_address"
    return _parsed(settings, key, lambda text: address.parse(text, purpose), address.parse(default, purpose))


def _models(settings: Mapping[str, Setting], timeout: int) -> Dict[str, Dict[str, SnapshotModel]]:
    nothing: Dict[str, Dict[str, SnapshotModel]] = {}
    return _parsed(settings, "model_snapshot", lambda text: snapshot.parse(text, timeout), nothing)


def _parsed(settings: Mapping[str, Setting], key: str, parse: Callable[[str], T], default: T) -> T:
    setting = settings.get(key)
    if setting is None:
        return default
    try:
        return parse(setting.value)
    except ValueError as error:
        raise ConfigError(f"{setting.where}: {key}: {error}") from None
