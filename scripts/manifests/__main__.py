"""Check Kubernetes manifests before a cluster sees them, each finding with its file and the key's path.

    kubectl kustomize config/kustomize/overlays/gpu | python -m scripts.manifests -
    helm template config/helm/ts-kserve-wrapper -f mine.yaml | python -m scripts.manifests -
    python -m scripts.manifests my-service.yaml

Keys that KServe does not know, images without a tag, model formats that no runtime serves (the runtimes are those
given and this repository's), drains that outlast the pod. Keys are checked by KServe's CRDs where $KSERVE_CRDS or
--crds names a directory of them, else by the Python packages kserve and kubernetes where they are installed.
Ends with 0 when nothing is wrong, 1 with findings, 2 where a file cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import yaml

from kserve_wrapper.modelstore import manifests as content
from scripts.manifests import schemas, sdk

ROOT = schemas.ROOT
Found = List[Tuple[str, Dict[str, Any]]]


class Unreadable(Exception):
    """A file is absent or no YAML of Kubernetes objects; the message says which and why."""


def read(name: str) -> Found:
    """All objects of a file, or of standard input for ``-``.

    Raises:
        Unreadable: see there.
    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        values = [value for value in yaml.safe_load_all(text) if value is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Unreadable(f"{name}: {error}") from None
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict) or not {"apiVersion", "kind", "metadata"} <= value.keys():
            raise Unreadable(f"{name}: document {number} is no Kubernetes object (apiVersion, kind, metadata)")
    return [(name, value) for value in values]


def own_runtimes() -> List[Dict[str, Any]]:
    """The runtimes of this repository, the one of the canary overlay included."""
    names = sorted((ROOT / "config" / "runtime").glob("*.yaml"))
    found = [value for name in names for _, value in read(str(name))]
    canary = {**found[0], "metadata": {"name": "ts-kserve-wrapper-next"}}
    return [*found, canary]


def problems(value: Dict[str, Any], known: Dict[str, Any], crds: Optional[Path]) -> List[str]:
    """Everything against one object."""
    found: List[str] = []
    if crds is not None and value["kind"] in schemas.FILES:
        found += schemas.problems(value, crds)
    elif sdk.missing() is None and sdk.knows(value):
        found += sdk.problems(value)
    return [
        *found,
        *content.misnamed(value),
        *content.unpinned(value),
        *content.unserved(value, known),
        *content.killed_while_draining(value),
    ]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.manifests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="- is standard input")
    parser.add_argument("--crds", type=Path, default=schemas.directory(), help="directory of KServe's CRDs")
    options = parser.parse_args(arguments)
    try:
        objects = [item for name in options.files for item in read(name)]
    except Unreadable as problem:
        print(problem, file=sys.stderr)
        return 2
    if not objects:
        print("no object in what was given", file=sys.stderr)
        return 2
    runtimes = [value for _, value in objects if value["kind"] in content.RUNTIMES]
    known = content.formats([*own_runtimes(), *runtimes])
    failed = False
    for name, value in objects:
        for problem in problems(value, known, options.crds):
            failed = True
            print(f"{name}: {value['kind']} {value['metadata'].get('name')}: {problem}", file=sys.stderr)
    if not failed:
        print(f"{len(objects)} objects, nothing wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
