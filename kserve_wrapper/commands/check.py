"""Check archives, models' folders, model directories and TorchServe's configuration before anything is served.

    ts-kserve check my_model.mar              an archive
    ts-kserve check my_model                  a model's folder, with mar.json in it
    ts-kserve check models                    a directory as KServe mounts it, with config/ and model-store/
    ts-kserve check config.properties         TorchServe's configuration, for the place it is in

--load also loads each archive once in a process of its own, as TorchServe would, and asks it one row. That runs the
archive's code. Exit status: 0 without errors, 1 with errors, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from kserve_wrapper.archiver import BuildError, build, description, example, read_request
from kserve_wrapper.modelstore import Finding, check, check_mar, protocols
from kserve_wrapper.modelstore.__main__ import report
from kserve_wrapper.modelstore.check import CONFIG, STORE
from kserve_wrapper.modelstore.content import ENVELOPE_OF, check_content
from kserve_wrapper.modelstore.findings import error, failed, of_config_error
from kserve_wrapper.torchserve import config, properties
from kserve_wrapper.torchserve.properties import ConfigError


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    options = parser().parse_args(arguments)
    try:
        request = read_request(options.request) if options.request else None
    except BuildError as problem:
        print(f"check: {problem}", file=sys.stderr)
        return 2
    wrong = False
    for path in options.path:
        findings = check_path(path, options, request)
        report(path, findings, options.load or path.suffix == ".properties")
        wrong = wrong or failed(findings)
    return 1 if wrong else 0


def check_path(path: Path, options: argparse.Namespace, request: Optional[Dict[str, Any]]) -> List[Finding]:
    """The findings about whatever lies at ``path``."""
    if not path.exists():
        return [error(path, None, "there is no such file or directory", "Name an archive, a folder or a configuration")]
    if (path / description.NAME).is_file():
        return _folder(path, options.load, request)
    if path.is_dir():
        return [*check(path, options.protocol, load=options.load), *_protocols(path, options.protocol)]
    if path.suffix == ".properties":
        return _configuration(path, options.protocol)
    return [*check_mar(path, options.load, request), *protocols.findings(path)]


def _protocols(directory: Path, protocol: Optional[str]) -> Iterator[Finding]:
    """Which models answer one protocol: KServe sets the envelope by the service's, else the configuration does."""
    try:
        entries = properties.parse(properties.read(directory / CONFIG), str(directory / CONFIG))
    except ConfigError:
        return
    configured = entries["service_envelope"].value if "service_envelope" in entries else None
    for path in sorted((directory / STORE).glob("*.mar")):
        yield from protocols.findings(path, ENVELOPE_OF.get(protocol or "", configured))


def _folder(folder: Path, load: bool, request: Optional[Dict[str, Any]]) -> List[Finding]:
    """What a build would say, and with ``load`` what its archive does."""
    try:
        if not load:
            description.read_description(folder)
            return []
        with tempfile.TemporaryDirectory(prefix="ts-kserve-check-") as scratch:
            found = check_mar(build(folder, Path(scratch)), True, request or example(folder))
            return [Finding(one.severity, folder, one.line, one.problem, one.remedy) for one in found]
    except BuildError as problem:
        return [error(folder, None, str(problem).rstrip("."), "")]


def _configuration(file: Path, protocol: Optional[str]) -> List[Finding]:
    try:
        found = config.load(file, os.environ)
    except ConfigError as problem:
        return [of_config_error(file, problem)]
    if found.model_store is None or not found.model_store.is_dir():
        return [error(file, None, f"model_store ({found.model_store}) is no directory", "Write where the archives are")]
    return check_content(file, found.settings, found.model_store, protocol)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="ts-kserve check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("path", nargs="+", type=Path, metavar="PATH", help="what to check")
    made.add_argument("--load", action="store_true", help="load archives once, which runs their code")
    made.add_argument("--request", type=Path, metavar="FILE", help="the request that --load asks, V1 or V2 JSON")
    made.add_argument("--protocol", choices=sorted(ENVELOPE_OF), help="check the configured envelope for it, too")
    return made
