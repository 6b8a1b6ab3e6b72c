"""What is wrong with one archive, as far as reading tells: files, names, and what does not work behind the wrapper."""

from __future__ import annotations

import ast
import difflib
from typing import Any, Iterator, List, Mapping, Optional, Tuple

import yaml

from kserve_wrapper.modelstore import modules
from kserve_wrapper.modelstore.findings import Finding, Report, error, warning
from kserve_wrapper.settings import Settings
from kserve_wrapper.torchserve.archive import Archive
from kserve_wrapper.upstream.envelopes import ONE_REQUEST

#: Where an archive on this project's base handler has the keys of ``handler:``.
_SETTINGS, _CLASS = "mnist_handler/config.py", "HandlerConfig"
#: Keys that are refused where they are true, and why.
_REFUSED: Tuple[Tuple[str, str, str], ...] = (
    (
        "sequenceBatching",
        "keeps a worker for each sequence: the question for the model's metadata gets no answer, and it is never ready",
        "Take it out; a handler that keeps state between requests needs TorchServe alone",
    ),
    (
        "asyncCommunication",
        "answers requests in another order and in pieces, which the wrapper cannot tell apart",
        "Take it out, and serve one request or batch at a time",
    ),
)
#: A stock handler whose vocabulary is a pickle, read by a bare torch.load.
_PICKLES = "text_classifier"


def check_archive(archive: Archive, envelope: Optional[str]) -> Iterator[Finding]:
    """Findings about one archive.

    Args:
        envelope: ``service_envelope`` as configured.
    """

    def wrong(problem: str, remedy: str) -> Finding:
        return error(archive.path, None, problem, remedy)

    def doubtful(problem: str, remedy: str) -> Finding:
        return warning(archive.path, None, problem, remedy)

    for what, flag in _incomplete(archive):
        yield wrong(f"{archive.path.name} names the {what}", f"Build it again with {flag} FILE")
    yield from modules.check(archive, wrong, doubtful)
    if archive.handler == _PICKLES:
        yield doubtful(
            f"TorchServe's {_PICKLES} reads its vocabulary, a pickle, by torch.load, which torch 2.6 and later refuse",
            "Set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 in the environment if you trust the archive",
        )
    if archive.config_file is None:
        return
    text = archive.text(archive.config_file)
    if text is None:
        yield wrong(
            f"{archive.path.name} names {archive.config_file} and does not hold it", "Build it again with --config-file"
        )
        return
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        yield wrong(f"{archive.config_file}{yaml_fault(problem)}", "Mend it and build the archive again")
        return
    if isinstance(content, Mapping):
        yield from _refused(archive, content, wrong)
        yield from _batch(archive, content, envelope, doubtful)
        yield from _slow(archive, content, doubtful)
        yield from _handler_keys(archive, content, wrong)


def yaml_fault(error: yaml.YAMLError) -> str:
    """``, line N: is not YAML: …``, what PyYAML tells in several lines, as one."""
    where, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    # Of what is left open, the place where it began says more than the file's end.
    began = getattr(error, "context_mark", None) or where
    line = f", line {began.line + 1}" if began is not None else ""
    return f"{line}: is not YAML: {problem or str(error).partition(chr(10))[0]}"


def _incomplete(archive: Archive) -> Iterator[Tuple[str, str]]:
    """What the manifest names and the archive lacks, and the archiver's flag for it."""
    if archive.missing_handler:
        yield f"handler {archive.missing_handler} and does not hold it", "--handler"
    named = (
        ("model file", "it", archive.model_file, "--model-file"),
        ("weights", "them", archive.serialized_file, "--serialized-file"),
        ("requirements", "them", archive.requirements_file, "--requirements-file"),
    )
    for what, pronoun, file, flag in named:
        if file and file not in archive.members:
            yield f"{what} {file} and does not hold {pronoun}", flag


def _refused(archive: Archive, content: Mapping[str, Any], wrong: Report) -> Iterator[Finding]:
    for key, why, remedy in _REFUSED:
        if content.get(key) is True:
            yield wrong(f"{archive.config_file} has {key}: true, which {why}", remedy)


def _slow(archive: Archive, content: Mapping[str, Any], doubtful: Report) -> Iterator[Finding]:
    """A model that may load for longer than the startup probe waits, which waits as long as the wrapper stays live."""
    seconds, limit = content.get("startupTimeout"), Settings().worker_limit
    if isinstance(seconds, (int, float)) and seconds > limit:
        yield doubtful(
            f"{archive.config_file} has startupTimeout: {seconds:g}, and the manifests' startup probe ends a pod that "
            f"is not ready after {limit:g} s",
            "Raise periodSeconds x failureThreshold of the probe, and TS_KSERVE_WORKER_LIMIT with it",
        )


def _batch(
    archive: Archive, content: Mapping[str, Any], envelope: Optional[str], doubtful: Report
) -> Iterator[Finding]:
    size = content.get("batchSize")
    if isinstance(size, int) and size > 1 and envelope in ONE_REQUEST and _known_keys(archive) is None:
        yield doubtful(
            f"{archive.config_file} has batchSize: {size}, and the stock envelope {envelope} answers only the first "
            "request of such a batch",
            "Write batchSize: 1; the wrapper puts the rows of many clients into one request",
        )


def _handler_keys(archive: Archive, content: Mapping[str, Any], wrong: Report) -> Iterator[Finding]:
    section, known = content.get("handler"), _known_keys(archive)
    if known is None or not isinstance(section, Mapping):
        return
    for key in sorted(str(key) for key in section if key not in known):
        meant = difflib.get_close_matches(key, known, 1)
        remedy = f"Did you mean {meant[0]}" if meant else f"Known are {', '.join(known)}"
        yield wrong(f"{archive.config_file} has handler.{key}, which the handler refuses", remedy)


def _known_keys(archive: Archive) -> Optional[List[str]]:
    """The keys of ``handler:`` as the archive's own copy of the base handler has them; None for other handlers."""
    text = archive.text(_SETTINGS)
    if text is None:
        return None
    try:
        classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == _CLASS]
    except (SyntaxError, ValueError):
        return None
    names = [
        line.target.id
        for found in classes
        for line in found.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    ]
    return names or None
