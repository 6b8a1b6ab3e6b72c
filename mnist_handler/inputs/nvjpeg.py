"""Photographs decoded and resized on the GPU: JPEGs, by nvJPEG through torchvision, where a setting asks for it.

Only plain ones go there: a file without what pixels do not need, whose header tells a size within the limits, upright,
in three channels or grey, and of no extreme shape. All others, and all of a group that nvJPEG refuses, are Pillow's.
"""

from __future__ import annotations

import io
import struct
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional

from mnist_handler.inputs.containers import ContainerError, lean

#: Markers of frames (T.81, table B.1), and those of baseline, extended and progressive ones with Huffman codes.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PLAIN = (0xC0, 0xC1, 0xC2)
#: Longer side over the shorter: beyond, bringing the shorter side to its length makes too many pixels.
_LONGEST = 4


class NvJpeg:
    """Decodes JPEGs on a device to uint8 rows of ``shape``.

    Args:
        device: where; on a CPU torchvision's own decoder takes nvJPEG's place.
        shape: [channels, height, width]; 1 channel is greyscale, 3 are RGB.
        resize: length of the shorter side before the centre is cropped; None squashes to ``shape``.
        max_pixels: of all images that are decoded together; a larger one is not taken.
        orient: whether images that are not stored upright are to be turned: those are not taken.
    """

    def __init__(
        self, device: torch.device, shape: Tuple[int, int, int], resize: Optional[int], max_pixels: int, orient: bool
    ) -> None:
        self._device = device
        self._shape = shape
        self._size = list(shape[1:])
        self._mode = ImageReadMode.GRAY if shape[0] == 1 else ImageReadMode.RGB
        self._resize = resize
        self._max_pixels = max_pixels
        self._orient = orient
        #: Rows are cut out of what the shorter side is brought to.
        self._fits = resize is None or resize >= max(self._size)

    def decode(self, files: Sequence[Optional[bytes]], out: np.ndarray[Any, Any]) -> List[int]:
        """Decode what can be into rows of ``out``; the rows that are left to Pillow.

        Args:
            files: encoded images; None for what is none.
            out: writable uint8 [rows, channels, height, width].
        """
        left: List[int] = []
        group: List[Tuple[int, bytes]] = []
        pixels = 0
        for row, file in enumerate(files):
            plain = self._plain(file) if file and self._fits else None
            if plain is None:
                left.append(row)
                continue
            if pixels + plain[1] > self._max_pixels:
                left += self._together(group, out)
                group, pixels = [], 0
            group.append((row, plain[0]))
            pixels += plain[1]
        return sorted(left + self._together(group, out))

    def works(self) -> bool:
        """Whether this torchvision decodes a JPEG on the device."""
        side = max(self._size)
        file = io.BytesIO()
        Image.new("RGB", (side, side)).save(file, "JPEG")
        try:
            return not self._together([(0, file.getvalue())], np.zeros((1, *self._shape), np.uint8))
        except (TypeError, AttributeError):  # an older one takes no lists
            return False

    def _plain(self, file: bytes) -> Optional[Tuple[bytes, int]]:
        """A JPEG's bytes that pixels need, and its pixels, all from its header; None for what is Pillow's."""
        if not file.startswith(b"\xff\xd8\xff"):
            return None
        try:
            made = lean("JPEG", file)
            frames = _frames(made.data)
        except (ContainerError, struct.error, IndexError):
            return None  # Pillow's reader says what is wrong
        # Of several frames, decoders disagree on which one counts.
        if len(frames) != 1 or (made.orientation != 1 and self._orient):
            return None
        marker, bits, height, width, channels = frames[0]
        plain = marker in _PLAIN and bits == 8 and channels in (1, 3) and min(width, height) > 0
        if not plain or max(width, height) > _LONGEST * min(width, height):
            return None
        return (made.data, width * height) if width * height <= self._max_pixels else None

    def _together(self, group: Sequence[Tuple[int, bytes]], out: np.ndarray[Any, Any]) -> List[int]:
        """Decode files at once; the rows whose files could not be: all of them or none."""
        if not group:
            return []
        encoded = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for _, file in group]
        try:
            pictures = decode_jpeg(encoded, self._mode, device=self._device)
            rows = torch.stack([self._row(picture) for picture in pictures]).cpu().numpy()
        except RuntimeError:
            return [row for row, _ in group]
        out[[row for row, _ in group]] = rows
        return []

    def _row(self, picture: torch.Tensor) -> torch.Tensor:
        whole = self._size if self._resize is None else [self._resize]
        picture = functional.resize(picture, whole, antialias=True)
        return picture if self._resize is None else functional.center_crop(picture, self._size)


def _frames(data: bytes) -> List[Tuple[int, int, int, int, int]]:
    """Marker, bits, height, width and channels of each frame header before the first scan of a lean JPEG."""
    found = []
    place = 2
    while data[place + 1] != 0xDA:
        marker = data[place + 1]
        if marker in _FRAMES:
            found.append((marker, *struct.unpack_from(">BHHB", data, place + 4)))
        place += 2 + int(struct.unpack_from(">H", data, place + 2)[0])
    return found
