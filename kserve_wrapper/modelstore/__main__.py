"""``python -m kserve_wrapper.modelstore write|check``: a model directory for KServe, written or checked."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List, Optional, Sequence

from kserve_wrapper.modelstore.check import CONFIG, STORE, check
from kserve_wrapper.modelstore.content import ENVELOPE_OF
from kserve_wrapper.modelstore.findings import Finding, failed
from kserve_wrapper.modelstore.write import WriteError, write


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Exit status: 0 without errors, 1 with errors in the directory, 2 when it cannot be written."""
    options = _parser().parse_args(arguments)
    if options.command == "write":
        try:
            write(options.directory, options.mar, options.protocol, options.workers)
        except (WriteError, OSError) as problem:
            print(f"model store: {problem}", file=sys.stderr)
            return 2
    findings = check(options.directory, options.protocol, load=options.load)
    report(options.directory, findings, options.load)
    if options.command == "write" and not failed(findings):
        print(_upload(options.directory, options.protocol))
    return 1 if failed(findings) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kserve_wrapper.modelstore", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write", help="write a directory out of model archives, and check it")
    writing.add_argument("directory", type=Path)
    writing.add_argument("--mar", type=Path, action="append", required=True, help="a .mar file; may repeat")
    writing.add_argument("--protocol", choices=sorted(ENVELOPE_OF), default="v1")
    writing.add_argument("--workers", type=_positive, default=1, help="processes each model starts with (1)")
    writing.set_defaults(load=False)
    checking = commands.add_parser("check", help="check an existing directory")
    checking.add_argument("directory", type=Path)
    checking.add_argument("--protocol", choices=sorted(ENVELOPE_OF), help="check the envelope for it, too")
    checking.add_argument("--load", action="store_true", help="load each archive once, which runs its code")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def report(checked: Path, findings: List[Finding], whole: bool) -> None:
    """Findings to standard error, and a line to standard output where none is an error.

    Args:
        whole: there is no more to check; else the line says that nothing was loaded.
    """
    for finding in findings:
        print(finding, file=sys.stderr)
    if not failed(findings):
        print(
            f"{checked}: no errors found{'' if whole else '; nothing was loaded, which ts-kserve check --load does'}."
        )


def _upload(directory: Path, protocol: str) -> str:
    """What to upload, how, and what to write into the InferenceService."""
    files = [directory / CONFIG, *sorted((directory / STORE).iterdir())]
    listing = "\n".join(f"  {path.relative_to(directory)}  ({path.stat().st_size:,} bytes)" for path in files)
    return f"""\
Upload these, with their directories, to one place:
{listing}
with one of
  gsutil cp -r {directory}/config {directory}/model-store gs://BUCKET/PATH/
  aws s3 cp --recursive {directory} s3://BUCKET/PATH/
  kubectl cp {directory} model-store-loader:/pv/PATH
and name that place in the InferenceService:
  protocolVersion: {protocol}
  storageUri: gs://BUCKET/PATH, s3://BUCKET/PATH or pvc://model-store/PATH"""


if __name__ == "__main__":
    sys.exit(main())
