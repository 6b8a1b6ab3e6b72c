"""Write what KServe needs to serve models: the directory that it mounts, and the manifests.

    ts-kserve manifests my_model.mar --image REGISTRY/ts-kserve-wrapper:VERSION --out deploy

writes deploy/models (config/ and model-store/, to be uploaded), deploy/runtime.yaml (ServingRuntime),
deploy/service.yaml (InferenceService), and, unless --storage names another place, deploy/model-store-pvc.yaml (a claim
and a pod that fills it). They say what the project's config/ says, for these models. Nothing is sent to a cluster.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import yaml

from kserve_wrapper import modelstore
from kserve_wrapper.modelstore import manifests as checks
from kserve_wrapper.modelstore import protocols
from kserve_wrapper.modelstore.content import ENVELOPE_OF
from kserve_wrapper.modelstore.findings import Severity
from kserve_wrapper.modelstore.write import WriteError
from kserve_wrapper.torchserve import archive

PLACE = Path(__file__).with_name("kubernetes")
CLAIM = "model-store"
#: Places that KServe's storage initializer reads.
_STORAGE = re.compile(r"(gs|s3|pvc|https?|hf|oci|abfss?|hdfs|webhdfs)://[^\s]+\Z")
_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_PORT_GRPC = """\
      ports:
        - name: h2c
          containerPort: 8081
          protocol: TCP
"""
_LIMITS = """\
      resources:
        limits:
          nvidia.com/gpu: "1"
"""


class Refused(ValueError):
    """The manifests cannot be what was asked for; the message has the key's path and what to write."""


def main(arguments: Sequence[str]) -> int:
    """Entry point: 0, 1 with findings about the models, 2 where nothing was written."""
    options = parser().parse_args(arguments)
    try:
        models = [_read_archive(path) for path in options.mar]
        # As ts-kserve serve has it: a handler that answers one protocol alone answers V1.
        options.protocol = options.protocol or ("v2" if all(map(protocols.on_base, models)) else "v1")
        texts = render(options, [model.name for model in models])
        modelstore.write(options.out / "models", options.mar, options.protocol, options.workers)
        for name, text in texts.items():
            (options.out / name).write_text(text, encoding="utf-8")
    except (Refused, WriteError, OSError) as error:
        print(f"manifests: {error}", file=sys.stderr)
        return 2
    findings = modelstore.check(options.out / "models", options.protocol)
    for finding in findings:
        print(finding, file=sys.stderr)
    for told in (protocols.speaks(model, ENVELOPE_OF[options.protocol]) for model in models):
        if told:
            other = "v1" if options.protocol != "v1" else "v2"
            print(f"manifests: note: {told}. --protocol {other} makes it the other one.", file=sys.stderr)
    print(_next(options, list(texts)))
    return 1 if any(finding.severity is Severity.ERROR for finding in findings) else 0


def _read_archive(path: Path) -> archive.Archive:
    """Raises Refused."""
    try:
        return archive.read(path)
    except archive.ArchiveError as error:
        raise Refused(f"{path} {error}") from None


def render(options: argparse.Namespace, models: Sequence[str]) -> Dict[str, str]:
    """The manifests by file name, each checked as the project's own are.

    Args:
        options: of the command line.
        models: the names of those served.

    Raises:
        Refused: an image without a tag, a model format that no runtime serves, a name that Kubernetes refuses.
    """
    service = options.name or models[0].replace("_", "-").lower()
    if not _LABEL.match(service):
        raise Refused(f"$.metadata.name: {service!r} is no name of a service: give --name, small letters, digits and -")
    storage = options.storage or f"pvc://{CLAIM}/{service}"
    if not _STORAGE.match(storage):
        raise Refused(
            f"$.spec.predictor.model.storageUri: {storage!r} is no place that KServe reads (gs://, s3://, pvc://)"
        )
    made = {"runtime.yaml": _runtime(options), "service.yaml": _service(options, service, storage, models)}
    if storage.startswith(f"pvc://{CLAIM}/"):
        made["model-store-pvc.yaml"] = _claim(service, options.namespace)
    _check(made)
    return made


def _runtime(options: argparse.Namespace) -> str:
    text = _read("serving-runtime-gpu.yaml" if options.gpu else "serving-runtime.yaml")
    # What the file's own first lines say is of the project's folder.
    body = text[text.index("apiVersion:") :]
    body = re.sub(r"(?m)^( *)# Build it with .*\n", "", body)
    body = re.sub(r"(?m)^( *)image: .*$", lambda found: f"{found.group(1)}image: {_text(options.image)}", body)
    if options.cluster:
        body = body.replace("kind: ServingRuntime", "kind: ClusterServingRuntime", 1)
    where = "the whole cluster" if options.cluster else "one namespace"
    return f"# The runtime, for {where}.\n" + (body if options.cluster else _in_namespace(body, options.namespace))


def _service(options: argparse.Namespace, name: str, storage: str, models: Sequence[str]) -> str:
    text = _read(f"service-{options.mode.lower()}.yaml")
    values = {
        "MODELS": ", ".join(models),
        "SERVICE": name,
        "FORMAT": _text(options.format),
        "RUNTIME": "ts-kserve-wrapper-gpu" if options.gpu else "ts-kserve-wrapper",
        "PROTOCOL": options.protocol,
        "STORAGE": _text(storage),
    }
    text = re.sub(r"\b(" + "|".join(values) + r")\b", lambda found: values[found.group(1)], text)
    if options.mode == "Knative" and options.protocol == "grpc-v2":
        text += _PORT_GRPC
    return _in_namespace(text + (_LIMITS if options.gpu else ""), options.namespace)


def _claim(service: str, namespace: Optional[str]) -> str:
    text = (
        _read("model-store-pvc.yaml").replace("/pv/mnist/v2", f"/pv/{service}").replace("/pv/mnist", f"/pv/{service}")
    )
    text = text.replace("that torchserve-pvc.yaml reads", "that service.yaml reads")
    return _in_namespace(text.replace("kubectl cp DIR ", "kubectl cp models/. "), namespace)


def _in_namespace(text: str, namespace: Optional[str]) -> str:
    if namespace is None:
        return text
    return re.sub(r"(?m)^metadata:\n", f"metadata:\n  namespace: {namespace}\n", text)


def _check(made: Dict[str, str]) -> None:
    objects = [value for text in made.values() for value in yaml.safe_load_all(text)]
    known = checks.formats([value for value in objects if value["kind"] in checks.RUNTIMES])
    problems: List[str] = []
    for value in objects:
        problems += (
            checks.misnamed(value)
            + checks.unpinned(value)
            + checks.unserved(value, known)
            + checks.killed_while_draining(value)
        )
    if problems:
        raise Refused("\n".join(problems))


def _text(value: str) -> str:
    """A scalar as YAML has it, quoted where it must be."""
    return str(yaml.safe_dump(value, default_flow_style=True, width=10**6).splitlines()[0])


def _read(name: str) -> str:
    return (PLACE / name).read_text(encoding="utf-8")


def _next(options: argparse.Namespace, names: Sequence[str]) -> str:
    claim = "model-store-pvc.yaml"
    lines = ["Written:", *(f"  {options.out / name}" for name in ["models", *names]), "Next:"]
    if claim in names:
        lines += [
            f"  kubectl apply -f {options.out / claim}",
            f"  copy {options.out / 'models'} there, as that file says",
        ]
    else:
        lines.append(f"  copy what is in {options.out / 'models'} to {options.storage}")
    flags = "".join(f" -f {options.out / name}" for name in names if name != claim)
    return "\n".join([*lines, f"  kubectl apply{flags}"])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="ts-kserve manifests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("mar", nargs="+", type=Path, metavar="MAR", help="archives, all served by one service")
    made.add_argument("--image", required=True, metavar="NAME:TAG", help="the image, with its tag or digest")
    made.add_argument("--out", type=Path, default=Path("deploy"), metavar="DIR", help="default: %(default)s")
    made.add_argument("--name", help="the service's name (default: the first model's)")
    made.add_argument("--namespace", type=_label, help="default: that of kubectl's context")
    made.add_argument("--storage", metavar="URI", help="where models/ will lie: gs://, s3://, pvc://, hf://, oci:// …")
    made.add_argument(
        "--protocol",
        choices=sorted(ENVELOPE_OF),
        help="the service's (default: v2; v1 where a handler is not on this project's base, which answers both)",
    )
    made.add_argument("--mode", choices=["Standard", "Knative"], default="Standard", help="default: %(default)s")
    made.add_argument("--format", default="pytorch", help="the service's modelFormat (default: %(default)s)")
    made.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes for each model (1)")
    made.add_argument("--gpu", action="store_true", help="on one GPU")
    made.add_argument("--cluster", action="store_true", help="a runtime for the whole cluster (ClusterServingRuntime)")
    return made


def _label(text: str) -> str:
    if not _LABEL.match(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a namespace")
    return text


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
