"""Compiles a model ahead of serving, with torch.export and AOTInductor: here is the compiler, in the image is none.

The package is for any number of rows and, where inputs are filled up, any length. It is for a stated instruction set,
and it is compared with the eager model before anybody gets it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import shutil
import stat
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from torch import nn

from mnist_handler.compute.compiled import in_precision
from mnist_handler.compute.package import ANY_THREADS, KEY, BuiltFor, Package, Shape, Unfit, layout_of, release
from mnist_handler.compute.processor import BASELINE, INSTRUCTIONS, NATIVE, lacking, needed
from mnist_handler.compute.verify import Argument, arguments, probes, verify
from mnist_handler.inputs.spec import InputSpec

#: The release of torch that packages came with.
SINCE = (2, 6)
#: Rows and lengths in which compiled and eager are compared: none, one and several whole vectors of the processor.
ROWS, LENGTHS = (1, 2, 3, 8, 17), (1, 2, 5, 16, 33, 100)
#: Rows and length of what the model is exported with: unlike each other and unlike 1, which torch takes for constant.
_ROWS, _LENGTH = 3, 7
#: What the code says where an index is out of range, and ends the process.
_CHECK = b"index out of bounds"
#: Seconds of comparing.
_COMPARING = 120.0
#: A compiler that takes the stated instruction set where Inductor asks for that of the machine it runs on.
_COMPILER = """#!/bin/sh
for word do
    shift
    [ "$word" = -march=native ] && word=-march={instructions}
    set -- "$@" "$word"
done
exec "{compiler}" "$@"
"""


class NotCompiled(RuntimeError):
    """No package can be made of this model, or on this machine; the message says why. It is served without one."""


def check_can_compile(instructions: str) -> str:
    """The C++ compiler of this machine.

    Raises:
        NotCompiled: there is none, torch is too old, or the machine is not the one that the instructions are for.
    """
    if instructions not in INSTRUCTIONS:
        raise ValueError(f"instructions {instructions!r} are none of {', '.join(INSTRUCTIONS)}")
    if tuple(int(part) for part in release().split(".")[:2]) < SINCE:
        raise NotCompiled(f"torch {release()} does not compile ahead; {SINCE[0]}.{SINCE[1]} and later do")
    if sys.platform != "linux" or (instructions == BASELINE and platform.machine() != "x86_64"):
        raise NotCompiled(f"{BASELINE} is for Linux on x86_64, and this is {sys.platform} on {platform.machine()}")
    missing = lacking(needed(instructions))
    if missing:
        raise NotCompiled(f"this processor lacks {missing}, so that code for {instructions} could not be tried here")
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        raise NotCompiled(f"there is no C++ compiler ({' or '.join(names)})")
    return found


def compile_ahead(
    model: nn.Module,
    specs: Sequence[InputSpec],
    example: Callable[..., List[torch.Tensor]],
    target: Path,
    precision: str = "fp32",
    instructions: str = BASELINE,
) -> BuiltFor:
    """Write the package of a model on the CPU to ``target``, once it answers as eager does.

    Args:
        model: from tensors [rows, …] to one tensor or a tuple of them.
        example: gives inputs of so many rows and, where a shape has -1, of that length.
        target: ends in ``.pt2``.
        precision: see :class:`HandlerConfig`.

    Raises:
        NotCompiled: it is served without a package.
        Mismatch: compiled and eager differ by more than ``verify.TOLERANCES``.
    """
    compiler = check_can_compile(instructions)
    if isinstance(model, torch.jit.ScriptModule):
        raise NotCompiled("the model is TorchScript, which torch.export does not take; give its class and its weights")
    inputs = [one.contiguous() for one in example(_ROWS, _LENGTH)]
    model, low = in_precision(model, precision, inputs)
    cast = [one.to(low) if low is not None and one.is_floating_point() else one for one in inputs]
    kinds = arguments(specs)
    sizes = _dynamic(kinds, cast)
    built = BuiltFor(
        torch=release(),
        machine=platform.machine(),
        instructions=instructions,
        needs=tuple(sorted(needed(instructions))),
        device="cpu",
        threads=ANY_THREADS,
        precision=precision,
        inputs=_shapes(cast, sizes),
        several=_gives_several(model, cast),
        layout=layout_of(model),
    )
    with tempfile.TemporaryDirectory(prefix="compiled-") as scratch, _own_cache(Path(scratch)):
        program = _export(model, cast, sizes)
        _build(program, built, Path(scratch), compiler, target)
        if not _weights_are_the_models(target, built, model):
            built = dataclasses.replace(built, weights=True)
            _build(program, built, Path(scratch), compiler, target)
    try:
        if _looks_up(target):
            _check_lookups(model, kinds, example, low)
        _compare(model, kinds, example, built, target, low)
    except BaseException:
        target.unlink()
        raise
    return built


def _dynamic(kinds: Sequence[Argument], inputs: Sequence[torch.Tensor]) -> Tuple[Dict[int, Any], ...]:
    """The dimensions of each input that vary."""
    any_size = torch.export.Dim.DYNAMIC
    found: List[Dict[int, Any]] = []
    for kind, one in zip(kinds, inputs):
        varies = {0: any_size}
        if isinstance(kind, InputSpec):
            varies.update({place + 1: any_size for place, size in enumerate(kind.shape) if size < 0})
        elif one.dim() > 1:  # a mask, as long as its rows
            varies[1] = any_size
        found.append(varies)
    return tuple(found)


def _shapes(inputs: Sequence[torch.Tensor], varying: Sequence[Dict[int, Any]]) -> Tuple[Shape, ...]:
    made: List[Shape] = []
    for one, varies in zip(inputs, varying):
        sizes = tuple(-1 if place in varies else size for place, size in enumerate(one.shape))
        made.append((str(one.dtype).replace("torch.", ""), sizes[1:]))
    return tuple(made)


def _gives_several(model: nn.Module, inputs: Sequence[torch.Tensor]) -> bool:
    with torch.no_grad():
        scores = model(*(one.clone() for one in inputs))
    if isinstance(scores, torch.Tensor):
        return False
    if isinstance(scores, tuple) and all(isinstance(one, torch.Tensor) for one in scores):
        return True
    raise NotCompiled(f"the model gives a {type(scores).__name__}, not tensors: declare its outputs")


def _export(model: nn.Module, inputs: Sequence[torch.Tensor], sizes: Tuple[Dict[int, Any], ...]) -> Any:
    try:
        with _quiet():
            return torch.export.export(model, tuple(inputs), dynamic_shapes=_by_argument(model, sizes))
    except Exception as error:
        raise NotCompiled(f"torch.export does not take this model ({_cause(error)})") from error


def _by_argument(model: nn.Module, sizes: Tuple[Dict[int, Any], ...]) -> Any:
    """A model that takes ``*inputs`` has them as one argument."""
    code = getattr(type(model).forward, "__code__", None)
    gathers = code is not None and code.co_argcount == 1 and bool(code.co_flags & 0x04)
    return (sizes,) if gathers else sizes


def _build(program: Any, built: BuiltFor, scratch: Path, compiler: str, target: Path) -> None:
    from torch import _inductor as inductor
    from torch._inductor import config

    options: Dict[str, Any] = {
        "aot_inductor.metadata": {KEY: built.text()},
        "aot_inductor.package_constants_in_so": built.weights,
        "cpp.dynamic_threads": True,
        "cpp.cxx": (compiler if built.instructions == NATIVE else _wrap(compiler, built.instructions, scratch),),
    }
    if built.instructions == BASELINE:
        options.update({"cpp.simdlen": 256, "cpp.vec_isa_ok": True})
    if "aot_inductor.precompile_headers" in config.get_config_copy():
        options["aot_inductor.precompile_headers"] = False  # kept for ever, they would pay from the second model on
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _quiet(), _said(built.instructions):
            inductor.aoti_compile_and_package(program, package_path=str(target), inductor_configs=options)
    except Exception as error:
        raise NotCompiled(f"AOTInductor does not take this model ({_cause(error)})") from error


def _weights_are_the_models(target: Path, built: BuiltFor, model: nn.Module) -> bool:
    """Whether all that the code uses is the model's by name; constants that came of compiling are not."""
    try:
        Package(target, built, torch.device("cpu"), model)
    except Unfit:
        return False
    return True


def _wrap(compiler: str, instructions: str, scratch: Path) -> str:
    """Inductor has no setting for ``-march``; it tells a compiler's kind by its name."""
    wrapper = scratch / Path(compiler).name
    wrapper.write_text(_COMPILER.format(compiler=compiler, instructions=instructions))
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return str(wrapper)


@contextlib.contextmanager
def _own_cache(scratch: Path) -> Iterator[None]:
    """A cache of Inductor's of one's own: what another compiler made must not be taken for ours."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(scratch / "cache")
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


@contextlib.contextmanager
def _said(instructions: str) -> Iterator[None]:
    """Inductor does not try which instructions it can compile for, half a minute's work: it is told."""
    from torch._inductor import cpu_vec_isa

    module: Any = cpu_vec_isa
    before, told = module.valid_vec_isa_list, [module.VecAVX2()]
    if instructions == BASELINE:
        module.valid_vec_isa_list = lambda: told
    try:
        yield
    finally:
        module.valid_vec_isa_list = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of torch's about itself; what matters is compared."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def _looks_up(target: Path) -> bool:
    """Whether the code reads where values say, as of an embedding, and therefore checks that they are within."""
    with zipfile.ZipFile(target) as packed:
        sources = [packed.read(name) for name in packed.namelist() if name.endswith(".cpp")]
    return not sources or any(_CHECK in text for text in sources)


def _check_lookups(
    model: nn.Module, kinds: Sequence[Argument], example: Callable[..., List[torch.Tensor]], low: Optional[torch.dtype]
) -> None:
    """Raise NotCompiled unless no request can make the code's own check fail: that ends the process.

    Eager answers an index out of range with an error. So what may be one, all that the model takes, must be bounded by
    its ``InputSpec``, which is checked before the model runs, and eager must take the bounds and the longest rows.
    """
    longest = 1
    for kind in kinds:
        if not isinstance(kind, InputSpec):
            continue
        whole = kind.datatype.startswith(("INT", "UINT")) and None not in (kind.low, kind.high)
        if not (whole or kind.datatype == "BOOL"):
            raise NotCompiled(
                f"the model looks values up, and one out of range would end the worker: input {kind.name} needs to be "
                "of integers with low and high in its InputSpec"
            )
        if -1 in kind.shape and (kind.shape.count(-1) > 1 or not kind.buckets):
            raise NotCompiled(
                f"the model looks values up, and a row too long could end the worker: input {kind.name} needs buckets "
                "in its InputSpec, the last of which is the longest row"
            )
        longest = max(longest, *kind.buckets) if kind.buckets else longest
    for bound in ("low", "high"):
        inputs = example(2, longest)
        for kind, one in zip(kinds, inputs):
            value = getattr(kind, bound, None)
            if value is not None:
                one.fill_(int(value))
        try:
            with torch.no_grad():
                model(*(one.to(low) if low is not None and one.is_floating_point() else one for one in inputs))
        except Exception as error:
            raise NotCompiled(
                f"the model does not take its inputs' {bound}, or their longest rows ({_cause(error)})"
            ) from error


def _compare(
    model: nn.Module,
    kinds: Sequence[Argument],
    example: Callable[..., List[torch.Tensor]],
    built: BuiltFor,
    target: Path,
    low: Optional[torch.dtype],
) -> None:
    """Raise Mismatch unless the package answers as eager on random inputs of several sizes."""
    forward = Package(target, built, torch.device("cpu"), model)

    def given() -> Iterator[Tuple[str, List[torch.Tensor]]]:
        for words, inputs in probes(kinds, example, ROWS, LENGTHS):
            yield words, [one.to(low) if low is not None and one.is_floating_point() else one for one in inputs]

    if not verify([forward], model, given(), built.precision, _COMPARING):
        raise NotCompiled("the eager model takes no random input, so that nothing could be compared")


def _cause(error: BaseException) -> str:
    lines = str(error).strip().split("\n")
    return f"{type(error).__name__}: {lines[0][:300]}"
