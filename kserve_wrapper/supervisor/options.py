"""The supervisor's command line: its own options, then ``torchserve --start …`` as KServe passes it, then ``--``
and the wrapper's flags."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from kserve_wrapper import cli, settings
from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.supervisor.derived_config import ADDRESSES

DEFAULT_CONFIG = "/mnt/models/config/config.properties"

_EPILOG = """
Examples:
  ts-kserve supervise torchserve --start --model-store=/mnt/models/model-store \\
      --ts-config=/mnt/models/config/config.properties
  ts-kserve supervise --ts-config config/config.properties --model-store build/model-store -- --http_port 8080

Exit status: 0 after SIGTERM, SIGINT or SIGHUP; 1 when TorchServe or the wrapper ended or hung; 2 when nothing was
started because a setting, a file or a port is wrong.
"""


@dataclass(frozen=True)
class Options:
    config_path: Path
    #: Properties that TorchServe's arguments give; the environment beats them, as in TorchServe.
    arguments: Dict[str, str]
    #: Properties that --set gives; nothing beats them.
    settings: Dict[str, str]
    log_config: Optional[str]
    expose: Tuple[str, ...]
    drain_timeout: float
    hang_limit: float
    check: bool
    wrapper: List[str]


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Exits with status 2 and a message where an option is wrong."""
    ours, wrapper = _split(argv)
    parser = _parser(environ)
    found, unknown = parser.parse_known_args([argument for argument in ours if argument != "torchserve"])
    if unknown:
        parser.error(_unknown(unknown))
    return Options(
        # As in TorchServe, the variable beats the argument.
        config_path=Path(
            environ.get("TS_CONFIG_FILE") or found.ts_config or environ.get("CONFIG_PATH") or DEFAULT_CONFIG
        ),
        arguments=_arguments(found),
        settings=_settings(found.set, parser),
        log_config=found.log_config,
        expose=tuple(ADDRESSES) if "all" in found.expose else tuple(found.expose),
        drain_timeout=found.drain_timeout,
        hang_limit=found.hang_limit,
        check=found.check,
        wrapper=wrapper,
    )


class WrapperFlags:
    """What the supervisor must know of the wrapper's settings.

    Exits with status 2 and a message where the wrapper would refuse its flags or variables.
    """

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self._settings = cli.parse(arguments, environ)

    def ports(self) -> Dict[str, int]:
        """By flag; a free port where the wrapper was told to take one (0)."""
        return {flag: port or free_port() for flag, port in self._asked().items()}

    def chosen_ports(self, ports: Mapping[str, int]) -> List[str]:
        """Flags that hand the wrapper the free ports."""
        asked = self._asked()
        return [f"--{flag}={port}" for flag, port in ports.items() if asked[flag] == 0]

    def drain_delay(self) -> float:
        """Seconds that the wrapper goes on serving after SIGTERM."""
        return self._settings.drain_delay

    def host(self) -> str:
        """Where to ask the wrapper from this machine."""
        host = self._settings.host
        return "127.0.0.1" if host in ("", "0.0.0.0", "::") else host

    def tls(self) -> bool:
        return bool(self._settings.ssl_certfile)

    def _asked(self) -> Dict[str, int]:
        return {"http_port": self._settings.http_port, "grpc_port": self._settings.grpc_port}


def _split(argv: Sequence[str]) -> Tuple[List[str], List[str]]:
    arguments = list(argv)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]


def _unknown(arguments: Sequence[str]) -> str:
    """What to say of arguments that are not the supervisor's."""
    text = " ".join(arguments)
    wrapper = {item.name for item in settings.options()} | {name.replace("-", "_") for name, _ in settings.IGNORED}
    names = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
    if any(name[2:].replace("-", "_") in wrapper for name in names):
        return f"unrecognized arguments: {text}. Wrapper flags go after --, at the end: -- {text}"
    return f"unrecognized arguments: {text}"


def _arguments(found: argparse.Namespace) -> Dict[str, str]:
    chosen: Dict[str, str] = {}
    for key in ("model_store", "workflow_store", "cpp_log_config", "plugins_path"):
        if getattr(found, key):
            chosen[key] = os.path.abspath(getattr(found, key))
    if found.models:
        chosen["load_models"] = ",".join(found.models)
    if found.disable_token_auth:
        chosen["disable_token_authorization"] = "true"
    if found.enable_model_api:
        chosen["enable_model_api"] = "true"
    return chosen


def _settings(pairs: Sequence[str], parser: argparse.ArgumentParser) -> Dict[str, str]:
    chosen: Dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            parser.error(f"--set {pair}: write --set KEY=VALUE, KEY being a property of config.properties")
        chosen[key] = value
    return chosen


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ts-kserve supervise",
        usage="%(prog)s [options] [torchserve --start …] [-- flags of the wrapper]",
        description="Runs TorchServe and the KServe wrapper as one: starts both, stops both, ends when either does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    own = parser.add_argument_group("the supervisor")
    own.add_argument(
        "--drain_timeout",
        "--drain-timeout",
        type=_seconds,
        default=environ.get("TS_KSERVE_DRAIN_TIMEOUT", "25"),
        metavar="SECONDS",
        help="from SIGTERM, and the wrapper's --drain_delay after it, until whatever still runs is killed (25; keep "
        "both together under the pod's grace period, 30)",
    )
    own.add_argument(
        "--hang_limit",
        "--hang-limit",
        type=_seconds,
        default=environ.get("TS_KSERVE_GONE_LIMIT", "60"),
        metavar="SECONDS",
        help="how long TorchServe or the wrapper may not answer before both are ended (60)",
    )
    own.add_argument(
        "--expose",
        action="append",
        default=[],
        choices=[*ADDRESSES, "all"],
        help="keep this address of TorchServe as config.properties binds it, instead of loopback",
    )
    own.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a property of config.properties"
    )
    own.add_argument("--check", action="store_true", help="check files, settings and ports, and start nothing")
    _add_torchserve(parser)
    return parser


def _add_torchserve(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("TorchServe, as its own launcher takes them")
    group.add_argument("--start", action="store_true", help="no effect: TorchServe is always started")
    group.add_argument("--foreground", action="store_true", help="no effect: it always runs in the foreground")
    group.add_argument(
        "--ncs", "--no-config-snapshots", action="store_true", help="no effect: TorchServe never writes snapshots here"
    )
    group.add_argument("--ts-config", help=f"config.properties (CONFIG_PATH, or {DEFAULT_CONFIG})")
    group.add_argument("--model-store", help="directory of the archives (the property model_store)")
    group.add_argument("--workflow-store", help="directory of workflow archives")
    group.add_argument("--models", nargs="+", help="archives to load, where there is no model_snapshot")
    group.add_argument("--log-config", help="log4j2 file (log4j2.xml beside config.properties, or the wrapper's)")
    group.add_argument("--cpp-log-config", help="log configuration of C++ workers")
    group.add_argument("--plugins-path", "--ppath", help="jars for TorchServe's class path")
    group.add_argument("--disable-token-auth", "--dt", action="store_true", help="turn token authorization off")
    group.add_argument("--enable-model-api", action="store_true", help="let models be loaded and unloaded")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 86400:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value
