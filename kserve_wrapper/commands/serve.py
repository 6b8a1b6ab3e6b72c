"""Serve models on this machine: TorchServe and the wrapper in the foreground, until Ctrl-C.

    ts-kserve serve my_model                  builds the folder's archive, serves it, says what to try
    ts-kserve serve a.mar b.mar --free_ports  two archives, on ports that nobody uses
    ts-kserve serve my_model next/my_model    two versions of one model; the one named last is the default

It listens at 127.0.0.1 unless --host says otherwise. What follows -- goes to the wrapper (ts-kserve wrapper --help).
Ctrl-C, SIGINT or SIGTERM: requests in flight are answered first; a second one ends at once.
Exit status: 0 after Ctrl-C or SIGTERM, 1 when TorchServe or the wrapper ended, 2 when nothing was started.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from kserve_wrapper import modelstore
from kserve_wrapper.archiver import BuildError, description, example
from kserve_wrapper.commands.build import build_one
from kserve_wrapper.commands.curl_lines import lines
from kserve_wrapper.commands.running import Ports, Running
from kserve_wrapper.commands.scratch import scratch
from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.modelstore import protocols
from kserve_wrapper.modelstore.check import CONFIG, STORE
from kserve_wrapper.modelstore.content import ENVELOPE_OF
from kserve_wrapper.modelstore.write import WriteError, snapshot_of
from kserve_wrapper.supervisor import java, launch
from kserve_wrapper.supervisor.checks import owner, taken
from kserve_wrapper.supervisor.options import WrapperFlags
from kserve_wrapper.torchserve import archive
from kserve_wrapper.torchserve.config import load
from kserve_wrapper.torchserve.properties import ConfigError
from kserve_wrapper.trying.client import ServerError

#: Of its folder for temporary files, and of its log.
_PREFIX = "ts-kserve-serve-"


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    options = parse(arguments)
    try:
        with scratch(_PREFIX) as folder:
            return _serve(options, folder)
    except (WriteError, BuildError, ConfigError, archive.ArchiveError, ServerError) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename or ''}: {error.strerror or error}")


def _serve(options: argparse.Namespace, folder: Path) -> int:
    ports = Ports.choose(options.http_port, options.grpc_port, options.free_ports)
    flags = ["--host", options.host, *ports.flags(), *options.wrapper]
    look_ahead(flags, options.host)
    models, examples = gather(options.model, options.store or folder / "built", options.check)
    if models is None:
        return 2
    directory = folder / "models"
    modelstore.write(directory, models, workers=options.workers)
    config = options.ts_config or directory / CONFIG
    settings = {**torchserve_settings(options, models), "model_store": str(directory / STORE)}
    with Running(config, settings, flags, options.log, options.verbose) as running:
        _say(f"Starting TorchServe and the wrapper{'' if options.verbose else f' (log: {options.log})'}")
        served = list(map(archive.read, models))
        names = list(dict.fromkeys(model.name for model in served))
        if running.wait_ready(f"http://{_reached(options.host)}:{ports.http}", names):
            for line in _ready(running.base, ports, served, examples, folder):
                _say(line)
            envelope = load(config, launch.without_overridden(os.environ, settings), settings).service_envelope
            for line in [*one_protocol(served, envelope), "", "Ctrl-C stops it."]:
                _say(line)
        status = running.wait()
        if status != 0:
            for line in running.said():
                _say(line, sys.stderr)
            _say(f"serve: ended with status {status}{'' if options.verbose else f'; {options.log}'}", sys.stderr)
    if status == 0 and options.log_is_ours:
        options.log.unlink(missing_ok=True)
    return status


def look_ahead(flags: Sequence[str], host: str) -> None:
    """What would keep the server from starting is told before archives are built, which takes its time.

    Args:
        flags: the wrapper's; exits with status 2 and a message where it would refuse them.

    Raises:
        ConfigError: no TorchServe, no Java, or a port that is taken.
    """
    launch.find_torchserve()
    java.find(os.environ)
    for flag, port in WrapperFlags(flags, os.environ).ports().items():
        if taken(host, port):
            raise ConfigError(
                f"port {port} is taken{owner(port)}: stop what uses it, choose another (--{flag}), or take any "
                "(--free_ports)"
            )


def gather(
    named: Sequence[Path], store: Path, check: bool
) -> Tuple[Optional[List[Path]], Dict[str, Optional[Dict[str, Any]]]]:
    """Archives, those of folders being built, and the folders' example requests by model; None where one fails."""
    models: List[Path] = []
    examples: Dict[str, Optional[Dict[str, Any]]] = {}
    folders: Dict[Tuple[str, str], Path] = {}
    for path in named:
        if not path.exists():
            _refuse(f"{path}: there is no such file or directory; name a model's folder or an archive")
            return None, examples
        built: Optional[Path] = path
        if path.is_dir():
            where = _place(path, folders, store)
            built = where and build_one(path, where, check=check, command="serve")
            examples[path.resolve().name] = example(path)
        if built is None:
            return None, examples
        models.append(built)
    return models, examples


def _place(folder: Path, folders: Dict[Tuple[str, str], Path], store: Path) -> Optional[Path]:
    """Where its archive goes, so that none takes another's place; None where it has none, which standard error says.

    Args:
        folders: those before it, by name and version; it is put in.
    """
    if not (folder / description.NAME).is_file():
        archives = sorted(str(one) for one in folder.glob("*.mar"))
        hint = f"name its archives: {' '.join(archives)}" if archives else "ts-kserve new makes a folder that has one"
        _refuse(f"{folder / description.NAME} is missing; {hint}")
        return None
    name, version = folder.resolve().name, description.read_description(folder)["version"]
    if (name, version) in folders:
        former = folders[name, version]
        _refuse(f"{former} and {folder} are both {name} {version}: write another version into one's {description.NAME}")
        return None
    # An archive is named like its folder; further versions lie in directories named like them.
    place = store / version if any(other == name for other, _ in folders) else store
    folders[name, version] = folder
    return place


def torchserve_settings(options: argparse.Namespace, models: Sequence[Path]) -> Dict[str, str]:
    """What of config.properties is otherwise here: these models, and addresses of this machine."""
    settings = {"model_snapshot": snapshot_of(models, options.workers)}
    if options.ts_config is None:
        # Others on this machine reach loopback, so management asks for its key.
        settings["disable_token_authorization"] = "false"
    if options.ts_config is None or options.free_ports:
        purposes = ("inference", "management", "metrics")
        settings.update({f"{purpose}_address": f"http://127.0.0.1:{free_port()}" for purpose in purposes})
        settings.update({key: str(free_port()) for key in ("grpc_inference_port", "grpc_management_port")})
    return {**settings, **options.set}


def _ready(
    base: str,
    ports: Ports,
    models: Sequence[archive.Archive],
    examples: Mapping[str, Optional[Dict[str, Any]]],
    folder: Path,
) -> List[str]:
    versions: Dict[str, List[str]] = {}
    for model in models:
        versions.setdefault(model.name, []).append(model.version)
    told = [f"Ready: {', '.join(map(_served, versions, versions.values()))} at {base}, gRPC at port {ports.grpc}"]
    told += ["", "Try it:"]
    for name in versions:
        lines_of = lines(base, name, examples.get(name), folder)
        told += [f"  {line}" for line in (lines_of if len(versions) == 1 else lines_of[:1])]
    return [*told, f"  ts-kserve try {base}    # in the browser"]


def one_protocol(models: Sequence[archive.Archive], envelope: Optional[str]) -> List[str]:
    """A line for each model that answers one protocol alone, here and in a cluster."""
    told = filter(None, (protocols.speaks(model, envelope) for model in models))
    other = "v1" if envelope == "kservev2" else "v2"
    here, there = f"--set service_envelope={ENVELOPE_OF[other]}", f"ts-kserve manifests --protocol {other}"
    return [f"Note: {text}. For {other.upper()}: {here} here, {there} for a cluster." for text in told]


def _served(name: str, versions: Sequence[str]) -> str:
    """A model as the terminal names it; of several versions the last is the default one."""
    return name if len(versions) == 1 else f"{name} (versions {', '.join(versions)}; the last unless a URL names one)"


def _reached(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host


def _say(text: str, where: Any = None) -> None:
    print(text, file=where or sys.stdout, flush=True)


def _refuse(text: str) -> int:
    _say(f"serve: {text}", sys.stderr)
    return 2


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; ``wrapper`` are the flags after ``--``, ``log`` a file."""
    ours, wrapper = list(arguments), []
    if "--" in ours:
        ours, wrapper = ours[: ours.index("--")], ours[ours.index("--") + 1 :]
    made = parser()
    options = made.parse_args(ours)
    options.wrapper = wrapper
    pairs = [pair.partition("=") for pair in options.set]
    if not all(key and equals for key, equals, _ in pairs):
        made.error("--set: write --set KEY=VALUE, KEY being a property of config.properties")
    options.set = {key: value for key, _, value in pairs}
    options.log_is_ours = options.log is None
    if options.log_is_ours:
        options.log = Path(tempfile.gettempdir()) / f"{_PREFIX}{os.getpid()}.log"
    return options


def parser() -> argparse.ArgumentParser:
    """Everything before ``--``."""
    made = argparse.ArgumentParser(
        prog="ts-kserve serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("model", nargs="+", type=Path, metavar="FOLDER|MAR", help="models' folders and archives")
    made.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    made.add_argument("--http_port", "--http-port", type=int, default=8080, metavar="PORT", help="REST (8080)")
    made.add_argument("--grpc_port", "--grpc-port", type=int, default=8081, metavar="PORT", help="gRPC (8081)")
    made.add_argument("--free_ports", "--free-ports", action="store_true", help="take ports that nobody uses")
    made.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes for each model (1)")
    made.add_argument("--ts_config", "--ts-config", type=Path, metavar="FILE", help="config.properties to begin with")
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a property of config.properties"
    )
    made.add_argument("--store", type=Path, metavar="DIR", help="keep the archives that are built here")
    made.add_argument("--log", type=Path, metavar="FILE", help="what TorchServe and the wrapper say goes here")
    made.add_argument("--verbose", action="store_true", help="show what they say instead")
    made.add_argument("--no-check", dest="check", action="store_false", help="do not load archives before serving them")
    return made


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
