"""What surrounds the pixels in an image file, taken off before a decoder sees it.

Text, colour profiles, previews, later frames and Exif can make a small file cost a decoder seconds and gigabytes, and
nothing of them is used but Exif's orientation. So the parts that pixels need are copied, the orientation is read, and
the rest is dropped. Formats: PNG (W3C, third edition), JPEG (T.81, JFIF, Exif 2.32), GIF89a, TIFF 6.0; a BMP has
nothing to drop, and of WebP (RFC 9649) only the orientation is read.
"""

from __future__ import annotations

import struct
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

#: A file of more parts than this before its pixels end is refused: reading each costs time.
MAX_PARTS = 20_000
#: Each scan of a progressive JPEG goes over all of its pixels; encoders make about ten.
MAX_SCANS = 100
_ORIENTATION = 0x0112
#: TIFF's tags that say how pixels are stored; extents, layout, colours, tables of compressed data.
_TIFF_TAGS = frozenset(
    (
        *(254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 292, 293, 296, 317, 320),
        *(322, 323, 324, 325, 338, 339, 347, 529, 530, 531, 532),
    )
)
#: Bytes of a TIFF value, by its type.
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


class ContainerError(ValueError):
    """The file is not built as its format wants; the message says how."""


class Lean(NamedTuple):
    #: The file with the parts that its pixels need.
    data: bytes
    #: Exif's orientation, 1 to 8; 1 = as it is.
    orientation: int = 1
    #: Width and height where a decoder would make room for them before it tells them.
    size: Optional[Tuple[int, int]] = None


def lean(kind: str, data: bytes) -> Lean:
    """A file of one of Pillow's format names (``PNG``, ``JPEG``, …) without what its pixels do not need.

    Raises:
        ContainerError: cut off, or not built as the format wants.
    """
    try:
        return _READERS[kind](data) if kind in _READERS else Lean(data)
    except (struct.error, IndexError) as error:
        raise ContainerError(f"damaged or truncated {kind} image") from error


def png_chunks(data: bytes) -> List[Tuple[bytes, int, int]]:
    """Name, start and end of the content of every chunk of a PNG up to IEND."""
    chunks: List[Tuple[bytes, int, int]] = []
    place = 8
    while place + 12 <= len(data) and len(chunks) < MAX_PARTS:
        (size,) = struct.unpack_from(">I", data, place)
        name, start = data[place + 4 : place + 8], place + 8
        if start + size + 4 > len(data):
            break
        chunks.append((name, start, start + size))
        if name == b"IEND":
            return chunks
        place = start + size + 4
    raise ContainerError("damaged or truncated PNG image")


def exif_orientation(exif: bytes) -> int:
    """The orientation in an Exif block; 1 where it has none or is damaged.

    Only this tag is looked for: an entry may claim any of the block's bytes, all of them many times.
    """
    if exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return 1
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(min(entries, 1000)):
            tag, kind, count = struct.unpack_from(order + "HHI", exif, start + 2 + 12 * entry)
            if tag == _ORIENTATION:
                value = struct.unpack_from(order + "H", exif, start + 10 + 12 * entry)[0]
                return int(value) if (kind, count) == (3, 1) and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _png(data: bytes) -> Lean:
    kept, orientation = [data[:8]], 1
    for name, start, end in png_chunks(data):
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[start - 8 : end + 4])
        elif name == b"eXIf":
            orientation = exif_orientation(data[start:end])
    return Lean(b"".join(kept), orientation)


def _jpeg(data: bytes) -> Lean:
    """Segments until the scan: APP0 (JFIF) and APP14 (Adobe) tell what the colours are; other APPn and COM go."""
    kept, orientation = [data[:2]], 1
    place = 2
    for _ in range(MAX_PARTS):
        if data[place] != 0xFF:
            raise ContainerError("damaged or truncated JPEG image")
        marker = data[place + 1]
        if marker == 0xFF:  # a filling byte
            place += 1
            continue
        if marker == 0xDA:
            # Within a scan's data a byte 0xFF is never followed by this one.
            if data.count(b"\xff\xda", place) > MAX_SCANS:
                raise ContainerError(f"more than {MAX_SCANS} scans")
            return Lean(b"".join([*kept, data[place:]]), orientation)
        if marker in (0x01, 0xD9) or 0xD0 <= marker <= 0xD8:
            raise ContainerError("damaged or truncated JPEG image")
        (size,) = struct.unpack_from(">H", data, place + 2)
        end = place + 2 + size
        if marker in (0xE0, 0xEE) or not (0xE1 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[place:end])
        elif marker == 0xE1 and orientation == 1 and data[place + 4 : place + 10] == b"Exif\0\0":
            orientation = exif_orientation(data[place + 10 : end])
        place = end
    raise ContainerError(f"more than {MAX_PARTS} segments before its pixels")


def _gif(data: bytes) -> Lean:
    """Header, palette, the transparency of the first frame (graphic control), and that frame."""
    flags = data[10]
    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    kept = [data[:place]]
    for _ in range(MAX_PARTS):
        block = data[place]
        if block == 0x2C:
            local = data[place + 9]
            end = _gif_blocks(data, place + 11 + (3 << (local & 7) + 1 if local & 0x80 else 0))
            return Lean(b"".join([*kept, data[place:end], b"\x3b"]))
        if block != 0x21:
            break
        end = _gif_blocks(data, place + 2)
        if data[place + 1] == 0xF9:
            kept.append(data[place:end])
        place = end
    raise ContainerError("damaged or truncated GIF image")


def _gif_blocks(data: bytes, place: int) -> int:
    """The place behind a row of sub-blocks."""
    while data[place]:
        place += data[place] + 1
    return place + 1


def _tiff(data: bytes) -> Lean:
    """The first directory, rewritten where it is with the tags that pixels need, none of them larger than the file."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    entries: Dict[int, bytes] = {}
    claimed = 0
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", data, place)
        if tag not in _TIFF_TAGS or tag in entries:
            continue
        claimed += values * _TIFF_SIZES.get(kind, 1)
        entries[tag] = data[place : place + 12]
    if claimed > len(data):
        raise ContainerError("damaged or truncated TIFF image")
    orientation = _tiff_orientation(entries.pop(_ORIENTATION, bytes(12)), order)
    kept = b"".join(entries.values())
    end = start + 2 + len(kept) + 4
    if end > len(data):
        data = data.ljust(end, b"\0")
    directory = struct.pack(order + "H", len(entries)) + kept + bytes(4)
    return Lean(data[:start] + directory + data[end:], orientation)


def _tiff_orientation(entry: bytes, order: str) -> int:
    (value,) = struct.unpack_from(order + "H", entry, 8)
    return int(value) if 1 <= value <= 8 else 1


def _webp(data: bytes) -> Lean:
    orientation = 1
    place = 12
    for _ in range(MAX_PARTS):
        if place + 8 > len(data):
            break
        name, (size,) = data[place : place + 4], struct.unpack_from("<I", data, place + 4)
        if name == b"EXIF":
            orientation = exif_orientation(data[place + 8 : place + 8 + size])
        place += 8 + size + (size & 1)
    return Lean(data, orientation, _webp_size(data))


def _webp_size(data: bytes) -> Tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        wide, high = (int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        return wide + 1, high + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind != b"VP8 ":
        raise ContainerError("damaged or truncated WEBP image")
    wide, high = struct.unpack_from("<HH", data, 26)
    return wide & 0x3FFF, high & 0x3FFF


_READERS: Dict[str, Callable[[bytes], Lean]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "GIF": _gif,
    "TIFF": _tiff,
    "WEBP": _webp,
}
