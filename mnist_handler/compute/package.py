"""A model that was compiled ahead (AOTInductor): what it was built for, whether that is here, and how it is called.

A package is a ZIP file that holds native code. What it was built for is read out of it before any of that code is
loaded, since code for another processor or another torch does not fail but crashes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch import nn

from mnist_handler.compute.engine import Scores
from mnist_handler.compute.processor import lacking

#: The package's name in an archive.
NAME = "compiled.pt2"
#: The key of torch's own metadata in a package that has ours, as JSON.
KEY = "BUILT_FOR"
#: Of any number of threads: an operator takes as many as torch has when it is called.
ANY_THREADS = "any"
#: Bytes that the metadata may have.
_LONGEST = 64 * 1024

#: An input's type, and its sizes without the batch's; -1 = any.
Shape = Tuple[str, Tuple[int, ...]]


class Unfit(RuntimeError):
    """The package cannot run here; the message says why."""


@dataclass(frozen=True)
class BuiltFor:
    """What a package runs on, and what it takes and gives."""

    torch: str
    #: The machine's architecture (``x86_64``), the instructions (``x86-64-v3``, ``native``) and all that they need.
    machine: str
    instructions: str
    needs: Tuple[str, ...]
    #: ``cpu``; a GPU with its compute capability, ``cuda 9.0``.
    device: str
    threads: str
    precision: str
    inputs: Tuple[Shape, ...]
    #: Whether it gives a tuple of tensors, not one.
    several: bool
    #: Whether it has weights of its own. Else it uses the model's, so that no second copy is packed or loaded.
    weights: bool = False
    #: Of names, types, shapes and strides of the model's weights, whose memory the code takes without a look.
    layout: str = ""

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def release() -> str:
    """torch's version without what tells apart builds of it, such as ``+cpu``."""
    return str(torch.__version__).split("+")[0]


def device_name(device: torch.device) -> str:
    """A device as :class:`BuiltFor` names it."""
    if device.type != "cuda":
        return device.type
    major, minor = torch.cuda.get_device_capability(device)
    return f"cuda {major}.{minor}"


def read(path: Path) -> BuiltFor:
    """What the package says that it was built for; none of its code is loaded.

    Raises:
        Unfit: it is no package, or does not say.
    """
    try:
        with zipfile.ZipFile(path) as package:
            told = [_metadata(package, name) for name in package.namelist() if name.endswith("_metadata.json")]
        texts = {metadata[KEY] for metadata in told if KEY in metadata}
        if len(texts) != 1:
            raise Unfit("it does not say what it was built for: build the archive with this project's command")
        return _built_for(json.loads(texts.pop()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile) as error:
        if isinstance(error, Unfit):
            raise
        raise Unfit(f"it cannot be read ({type(error).__name__}: {error})") from error


def _metadata(package: zipfile.ZipFile, name: str) -> Dict[str, str]:
    with package.open(name) as file:
        made: Dict[str, str] = json.loads(file.read(_LONGEST))
        return made


def _built_for(values: Dict[str, Any]) -> BuiltFor:
    names = {field.name for field in fields(BuiltFor)}
    inputs = tuple((str(dtype), tuple(int(size) for size in sizes)) for dtype, sizes in values["inputs"])
    for dtype, _ in inputs:
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise ValueError(f"{dtype} is no type of a tensor")
    known = {name: values[name] for name in names}
    return BuiltFor(**{**known, "inputs": inputs, "needs": tuple(map(str, values["needs"]))})


def check(built: BuiltFor, device: torch.device, precision: str) -> None:
    """Raise Unfit unless what the package was built for is here."""
    pairs = (
        ("torch", built.torch, release()),
        ("a machine", built.machine, platform.machine()),
        ("a device", built.device, device_name(device)),
        ("precision", built.precision, precision),
    )
    for what, wanted, here in pairs:
        if wanted != here:
            raise Unfit(f"it was built for {what} {wanted}, and here is {here}")
    missing = lacking(frozenset(built.needs))
    if missing:
        raise Unfit(f"it was built for processors of {built.instructions}, and this one lacks {missing}")
    if built.threads not in (ANY_THREADS, str(torch.get_num_threads())):
        raise Unfit(f"it was built for {built.threads} threads, and here are {torch.get_num_threads()}")


def weights_of(model: nn.Module) -> Dict[str, torch.Tensor]:
    """Parameters and buffers by name, as a package asks for them; they share the model's memory."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: one.detach() for name, one in named}


def layout_of(model: nn.Module) -> str:
    """A digest of how the model's weights lie in memory, not of their values."""
    told = sorted((name, str(one.dtype), [*one.shape], [*one.stride()]) for name, one in weights_of(model).items())
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


class Package:
    """A package as a function from tensors to scores.

    Its code takes the inputs' memory for what it was built for without a look: so a look is taken here.

    Args:
        model: whose weights it uses, where it has none of its own.

    Raises:
        Unfit: it cannot be loaded.
    """

    def __init__(self, path: Path, built: BuiltFor, device: torch.device, model: nn.Module) -> None:
        if layout_of(model) != built.layout:
            raise Unfit("it is of another model: weights have other names, types or shapes")
        self.built = built
        self._kinds = [(getattr(torch, dtype), sizes) for dtype, sizes in built.inputs]
        self._device = device.type
        index = -1 if device.index is None else device.index
        try:
            # As torch._inductor.aoti_load_package does; importing that takes seconds, and each call through it longer.
            loader: Any = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, index)
        except (AttributeError, RuntimeError, TypeError, OSError) as error:
            cause = str(error).strip().split("\n")[0]
            raise Unfit(f"it does not load ({type(error).__name__}: {cause})") from error
        self._run = getattr(loader, "boxed_run", loader.run)
        self._loader = loader  # holds the code
        self._weights: Dict[str, torch.Tensor] = {}
        if not built.weights:
            self._take_weights(weights_of(model))

    def names(self) -> List[str]:
        """Of the weights that it uses."""
        return list(self._loader.get_constant_fqns())

    def _take_weights(self, weights: Dict[str, torch.Tensor]) -> None:
        missing = sorted(set(self.names()) - set(weights))
        if missing:
            raise Unfit(f"it needs what is none of the model's weights: {', '.join(missing)}")
        self._weights = {name: weights[name] for name in self.names()}  # it has but their addresses
        if self._weights:
            self._loader.load_constants(self._weights, False, True, True)

    def __call__(self, *inputs: torch.Tensor) -> Scores:
        if len(inputs) != len(self._kinds):
            raise ValueError(f"the compiled model takes {len(self._kinds)} inputs, not {len(inputs)}")
        given = [self._checked(one, kind) for one, kind in zip(inputs, self._kinds)]
        scores: List[torch.Tensor] = self._run(given)
        return tuple(scores) if self.built.several else scores[0]

    def _checked(self, tensor: torch.Tensor, kind: Tuple[torch.dtype, Sequence[int]]) -> torch.Tensor:
        dtype, sizes = kind
        own = tensor.shape[1:]
        fits = len(own) == len(sizes) and all(size in (-1, one) for size, one in zip(sizes, own))
        if tensor.dtype != dtype or not fits or tensor.device.type != self._device:
            raise ValueError(
                f"the compiled model takes {dtype} of [rows, {', '.join(map(str, sizes))}] on {self._device}, not "
                f"{tensor.dtype} of {list(tensor.shape)} on {tensor.device}"
            )
        return tensor.contiguous()


def load(path: Path, device: torch.device, precision: str, model: nn.Module) -> Package:
    """The package in ``path``, checked before its code is loaded.

    Args:
        model: in that precision, see :func:`in_precision`.

    Raises:
        Unfit: it is not for what is here.
    """
    built = read(path)
    check(built, device, precision)
    return Package(path, built, device, model)


def find(directory: Optional[Path]) -> Optional[Path]:
    """The package of an unpacked archive; None where it has none."""
    path = None if directory is None else directory / NAME
    return path if path is not None and path.is_file() else None
