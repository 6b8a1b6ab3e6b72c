"""Attributions made smaller: summed over channels, in blocks, in half precision, or as a picture."""

from __future__ import annotations

import base64
import io
from typing import Any, List, Optional

import numpy as np
from PIL import Image

from mnist_handler.inputs.attribution_form import AttributionForm
from mnist_handler.requests import Output

#: Of the attributions' sizes: a few single pixels beyond do not leave all others pale.
_STRONGEST = 99.5
_FOR, _AGAINST = (178.0, 24.0, 43.0), (33.0, 102.0, 172.0)


def render(
    values: np.ndarray[Any, Any], form: AttributionForm, pictures: Optional[np.ndarray[Any, Any]] = None
) -> Output:
    """Attributions of some rows in the form asked for.

    Args:
        values: float32 [rows, …]. What has fewer dimensions than a part of the form needs stays as it is in that.
        pictures: what the rows look like, uint8 [rows, height, width, 3], to lie under the heat map.

    Returns:
        An array, or a list with a PNG a row as base64 text.
    """
    if (form.sum_channels or form.png) and values.ndim == 4:
        values = values.sum(1)
    if form.downsample > 1 and values.ndim >= 3:
        values = sum_blocks(values, form.downsample)
    if form.png and values.ndim == 3:
        under: List[Any] = [None] * len(values) if pictures is None else list(pictures)
        return [heat_map(row, picture) for row, picture in zip(values, under)]
    return values.astype(np.float16) if form.half else values


def sum_blocks(values: np.ndarray[Any, Any], block: int) -> np.ndarray[Any, Any]:
    """Sums over blocks of the last two dimensions, the last of them cut where they do not go up: the total stays."""
    for axis in (-2, -1):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], block), axis=axis)
    return values


def heat_map(values: np.ndarray[Any, Any], picture: Optional[np.ndarray[Any, Any]] = None) -> str:
    """One row's attributions [height, width] as a PNG in base64: red for the class, blue against it.

    Args:
        picture: uint8 [height, width, 3], shown in grey beneath; white without one.
    """
    size = (values.shape[1], values.shape[0])
    ground = np.full((*values.shape, 1), 255.0, np.float32)
    if picture is not None:
        grey = Image.fromarray(picture).convert("L").resize(size, Image.Resampling.BILINEAR)
        ground = (128 + np.asarray(grey, np.float32) / 2)[..., None]
    strength = np.abs(values)
    most = float(np.percentile(strength, _STRONGEST)) or float(strength.max(initial=0)) or 1.0
    share = np.clip(strength / most, 0, 1)[..., None]
    colour = np.where((values >= 0)[..., None], np.array(_FOR, np.float32), np.array(_AGAINST, np.float32))
    mixed = (ground * (1 - share) + colour * share).round().clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(mixed).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
