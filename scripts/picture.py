"""Draws an explanation: the digit and its attributions side by side."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image


def draw(encoded_image: str, attributions: Any, caption: str, target: Path) -> None:
    """Write a PNG to ``target``.

    Args:
        encoded_image: the image that was sent, base64.
        attributions: [28][28] numbers; red speaks for the class, blue against it.
        caption: what was explained.
        target: the file to write.
    """
    digit = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded_image))).convert("L"))
    heat = np.asarray(attributions, dtype=float)
    reach = float(np.abs(heat).max())
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.6), layout="constrained")
    left.imshow(digit, cmap="gray")
    left.set_title("the digit")
    right.imshow(digit, cmap="gray", alpha=0.25)
    shown = right.imshow(heat, cmap="seismic", vmin=-reach, vmax=reach, alpha=0.85)
    right.set_title(caption)
    figure.colorbar(shown, ax=right, shrink=0.8)
    for axes in (left, right):
        axes.axis("off")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    plt.close(figure)
