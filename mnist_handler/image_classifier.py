"""Classifiers of images: encoded images or tensors in, labels and attributions out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch

from mnist_handler.compute.cpu_share import share
from mnist_handler.config import DEFAULT_IMAGE_PIXELS, ConfigError
from mnist_handler.handler import RowHandler
from mnist_handler.inputs import arrays
from mnist_handler.inputs.base64_text import TextError, decode_base64
from mnist_handler.inputs.decoding import DecodingPool
from mnist_handler.inputs.images import ImageDecoder, ImageError, image_format
from mnist_handler.inputs.parameters import RequestParameters, read_flag
from mnist_handler.inputs.spec import PIXELS, PREPROCESSED, UNIT, Chunk, InputSpec
from mnist_handler.requests import InputValues

if TYPE_CHECKING:
    from mnist_handler.inputs.nvjpeg import NvJpeg


class ImageClassifier(RowHandler):
    """A model from images [rows, channels, height, width] to scores [rows, classes].

    A subclass sets the class attributes; the rest is here. Rows come as encoded images (bytes, or base64 text), as
    UINT8 0..255, as floats 0..1 (torchvision's ``ToTensor``), or, with the parameter ``normalized``, as the model
    takes them.
    """

    #: (channels, height, width) of what the model takes; 1 or 3 channels.
    row_shape: Tuple[int, int, int] = (3, 224, 224)
    #: Per channel, of values 0..1.
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)
    #: Length of the shorter side before the centre is cropped; None = squash to ``row_shape``.
    resize: Optional[int] = None
    #: 0..255, what shows through transparent pixels.
    background = 255

    def __init__(self) -> None:
        super().__init__()
        self.inputs = (InputSpec("input-0", "FP32", tuple(self.row_shape)),)

    def setup(self, context: Any) -> None:
        limited = context.system_properties.get("limit_max_image_pixels", True)
        limit = self.config.max_image_pixels if limited else None
        self._decoder = ImageDecoder(
            *(self.row_shape, self.resize, self.background, limit),
            orient=self.config.exif_orientation,
            reducing_gap=self.config.jpeg_reducing_gap,
        )
        self._decoded_together = self.config.decode_threads or share()
        self._pool = DecodingPool(self._decoded_together)
        self._nvjpeg = self._device_decoder(limit) if self.config.nvjpeg else None
        # Of pixels, mean and deviation are scaled instead of every value. On the device once, not once a batch.
        self._normal = {
            encoding: [torch.tensor(values, device=self.device) * scale for values in (self.mean, self.std)]
            for encoding, scale in ((PIXELS, 255.0), (UNIT, 1.0))
        }

    def describe_handle(self) -> Dict[str, Any]:
        """The V2 model metadata, with ``tensors``: what floats mean, and ``resize``: as the attribute, 0 for None."""
        return {**super().describe_handle(), "tensors": self.config.tensors, "resize": self.resize or 0}

    def decode_input(
        self, spec: InputSpec, block: InputValues, asked: RequestParameters, first_row: int, faults: Dict[int, str]
    ) -> List[Chunk]:
        values = block.values
        if isinstance(values, np.ndarray):
            if values.dtype.kind not in "OSU":
                normalized = self._is_normalized(values, asked.common.get("normalized"))
                return [self._tensor(values, normalized, first_row, faults)]
            values = values.ravel().tolist()
        chunks: List[Chunk] = []
        start = 0
        while start < len(values):
            stop = start
            while stop < len(values) and isinstance(values[stop], (bytes, bytearray, memoryview, str)):
                stop += 1
            if stop > start:
                chunks.append(self._images(values[start:stop], first_row + start, faults))
            else:
                stop = start + 1
                chunks.append(self._list_row(values[start], asked, first_row + start, faults))
            start = stop
        return chunks

    def prepare(self, spec: InputSpec, encoding: str, rows: torch.Tensor) -> torch.Tensor:
        if encoding == PREPROCESSED:
            return rows
        mean, std = (one.view(-1, 1, 1) for one in self._normal[encoding])
        values = rows.float()
        # Floats are the client's own array still; pixels have just become floats.
        return (values.sub_(mean) if encoding == PIXELS else values.sub(mean)).div_(std)

    def pictures(self, spec: InputSpec, rows: torch.Tensor) -> np.ndarray[Any, Any]:
        """The rows' pixels, uint8 [rows, height, width, 3]."""
        mean, std = (one.view(-1, 1, 1) for one in self._normal[UNIT])
        pixels = ((rows.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        shown: np.ndarray[Any, Any] = pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
        return shown

    def _images(self, values: List[Any], first_row: int, faults: Dict[int, str]) -> Chunk:
        pixels = np.zeros((len(values), *self.row_shape), dtype=np.uint8)
        rows: Sequence[int] = range(len(values))
        if self._nvjpeg is not None:
            rows = self._nvjpeg.decode([_image_bytes_or_none(value) for value in values], pixels)
        found = self._pool.map(self._decode_image, [values[row] for row in rows], [pixels[row] for row in rows])
        for row, fault in zip(rows, found):
            if fault is not None:
                faults[first_row + row] = fault
        return Chunk(PIXELS, pixels)

    def _device_decoder(self, limit: Optional[int]) -> NvJpeg:
        if self.device.type != "cuda":
            raise ConfigError("handler.nvjpeg: true needs a GPU; leave it out")
        # It brings torchvision, which costs a worker 80 MB and more than a second.
        from mnist_handler.inputs.nvjpeg import NvJpeg

        most = DEFAULT_IMAGE_PIXELS if limit is None else limit
        made = NvJpeg(self.device, self.row_shape, self.resize, most, self.config.exif_orientation)
        if not made.works():
            raise ConfigError("handler.nvjpeg: this torchvision decodes no JPEG on the GPU; leave it out")
        return made

    def _decode_image(self, value: Any, out: np.ndarray[Any, Any]) -> Optional[str]:
        """Decode one image into its row; what is wrong with it, or None. Runs in several threads at once."""
        try:
            self._decoder(_image_bytes(value), out)
        except (ImageError, TextError) as error:
            return f"not an image: {error}"
        return None

    def _list_row(self, value: Any, asked: RequestParameters, row: int, faults: Dict[int, str]) -> Chunk:
        try:
            array = arrays.from_lists(value)
            if array.ndim < 2:
                raise arrays.TensorError(f"{type(value).__name__} is neither an image nor nested lists of its pixels")
            array = arrays.split_rows(array, self.row_shape)
            if len(array) != 1:
                raise arrays.TensorError(f"shape {list(array.shape)} is more than one row")
            normalized = self._is_normalized(array, asked.of_row(row, "normalized"))
            chunk, found = arrays.image_rows(array, normalized, typed=False, first_row=row)
        except arrays.TensorError as error:
            faults[row] = str(error)
            return Chunk(PIXELS, np.zeros((1, *self.row_shape), dtype=np.uint8))
        faults.update(found)
        return chunk

    def _is_normalized(self, array: np.ndarray[Any, Any], asked: Any) -> bool:
        """Whether values are as the model takes them: the request says, else the setting, of floats alone."""
        if asked is None:
            return array.dtype.kind == "f" and self.config.tensors == "normalized"
        return read_flag("normalized", asked)

    def _tensor(self, array: np.ndarray[Any, Any], normalized: bool, first_row: int, faults: Dict[int, str]) -> Chunk:
        rows = arrays.split_rows(array, self.row_shape)
        chunk, found = arrays.image_rows(rows, normalized, typed=True, first_row=first_row)
        faults.update(found)
        return chunk


def _image_bytes_or_none(value: Any) -> Optional[bytes]:
    try:
        return _image_bytes(value)
    except (ImageError, TextError):
        return None


def _image_bytes(value: Any) -> bytes:
    """Raw image bytes as they are; text, and bytes that are not an image, as base64."""
    if isinstance(value, str):
        return decode_base64(value)
    data = bytes(value)
    if not data or image_format(data):
        return data
    try:
        return decode_base64(data.decode("ascii"))
    except UnicodeDecodeError as error:
        raise ImageError("of no known format") from error
