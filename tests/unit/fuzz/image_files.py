"""Image files as attackers make them: damaged ones of every format, and small ones that ask for much."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any, Callable, Iterator

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def samples() -> list[bytes]:
    """Good files: every format in its modes and compressions, at the size of a row and at another."""
    noise = np.random.default_rng(0).integers(0, 256, (28, 28, 4), dtype=np.uint8)
    grey = Image.fromarray(noise[..., 0])
    colour = Image.fromarray(noise[..., :3])
    clear = Image.fromarray(noise)
    files = [saved(one, form) for form in FORMATS for one in (grey, colour, colour.resize((61, 40)))]
    files += [saved(clear, form) for form in ("PNG", "TIFF", "WEBP")]
    files += [saved(grey.convert(mode), "PNG") for mode in ("1", "P", "LA", "I;16")]
    files += [
        saved(colour, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    ]
    files.append(saved(grey.convert("1"), "TIFF", compression="group4"))
    files.append(saved(colour, "JPEG", progressive=True))
    files.append(saved(colour.convert("CMYK"), "JPEG"))
    files.append(saved(colour, "WEBP", lossless=True))
    files += [saved(grey, form, save_all=True, append_images=[colour, grey]) for form in ("GIF", "WEBP", "TIFF", "PNG")]
    return files


def damaged(files: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Files with bytes changed, cut out, doubled or cut off; most damage lies in the first hundred bytes."""
    draw = random.Random(seed)
    for number in range(count):
        file = bytearray(files[number % len(files)])
        for _ in range(draw.choice((1, 1, 2, 8))):
            place = draw.randrange(min(len(file), draw.choice((100, len(file)))))
            kind = draw.randrange(5)
            if kind < 3:
                file[place] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            elif kind == 3:
                del file[place : place + draw.randrange(1, 40)]
            else:
                file[place:place] = file[max(0, place - 16) : place]
            if not file:
                break
        yield bytes(file[: draw.choice((len(file), len(file), draw.randrange(len(file) + 1)))])


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(name: bytes, content: bytes) -> bytes:
    """A good PNG with one more chunk before its pixels."""
    image = saved(Image.new("L", (28, 28), 7), "PNG")
    return image[:33] + chunk(name, content) + image[33:]


def exif_bomb() -> bytes:
    """60,000 entries, each of which claims the same megabyte."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 1_000_000, 8) for tag in range(1, 60_001))
    return b"II*\0" + struct.pack("<IH", 8, 60_000) + entries + bytes(400_000)


def jpeg_bomb() -> bytes:
    image = saved(Image.new("L", (28, 28), 7), "JPEG")
    block = exif_bomb()
    parts = [block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    segments = [b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts]
    return image[:2] + b"".join(segments) + image[2:]


def jpeg_of_many_scans() -> bytes:
    """A progressive JPEG whose last scan comes two thousand times."""
    image = saved(Image.new("L", (2000, 2000), 7), "JPEG", progressive=True)
    last = image.rindex(b"\xff\xda")
    return image[:-2] + image[last:-2] * 2000 + image[-2:]


def tiff(entries: list[tuple[int, int, int, int]], rest: bytes) -> bytes:
    """A TIFF of one directory; ``rest`` stands from byte 8 on."""
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8 + len(rest)) + rest + struct.pack("<H", len(entries)) + directory + bytes(4)


def tiff_bomb() -> bytes:
    plain = [(256, 3, 1, 28), (257, 3, 1, 28), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    plain += [(277, 3, 1, 1), (278, 3, 1, 28), (279, 4, 1, 784)]
    return tiff([*plain, *((tag, 7, 1_000_000, 8) for tag in range(1000, 61_000))], bytes(1_000_000))


def tiff_of_many_strips() -> bytes:
    """100,000 strips, each of nearly the whole image of a megapixel."""
    strips = 100_000
    plain = [(256, 3, 1, 1000), (257, 3, 1, 1000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    plain += [(273, 4, strips, 8), (277, 3, 1, 1), (278, 3, 1, 999), (279, 4, strips, 8 + 4 * strips)]
    return tiff(plain, struct.pack("<I", 8) * strips + struct.pack("<I", 999_000) * strips + bytes(300_000))


def gif_of_comments() -> bytes:
    image = saved(Image.new("L", (28, 28), 7), "GIF")
    head = 13 + (3 << (image[10] & 7) + 1)
    comment = b"\x21\xfe" + (b"\xff" + b"x" * 255) * 40_000 + b"\0"
    return image[:head] + comment + image[head:]


def animation(form: str) -> bytes:
    frames = [Image.new("L", (400, 400), shade % 256) for shade in range(300)]
    return saved(frames[0], form, save_all=True, append_images=frames[1:])


def huge_webp() -> bytes:
    image = bytearray(saved(Image.new("RGBA", (28, 28), (1, 2, 3, 4)), "WEBP"))
    image[24:30] = b"\xfe\x3f\0" * 2
    return bytes(image)


#: Files of at most some megabytes; each is answered or refused without much memory.
BOMBS: dict[str, Callable[[], bytes]] = {
    **{
        f"{wide} x {high}": (lambda size=(wide, high): saved(Image.new("1", size, 1), "PNG"))
        for wide, high in [
            (2000, 1),
            (10_000, 1),
            (1, 10_000),
            (65_535, 1),
            (1, 65_535),
            (65_536, 1),
            (1, 1_000_000),
            (3, 60_000),
        ]
    },
    "a transparent picture": lambda: saved(Image.new("LA", (3000, 3000), (9, 9)), "PNG"),
    "a compressed text of 100 MB": lambda: with_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**8), 9)),
    "a colour profile of 100 MB": lambda: with_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**8), 9)),
    "a PNG whose Exif claims 60 GB": lambda: with_chunk(b"eXIf", exif_bomb()),
    "a million empty chunks": lambda: with_chunk(b"abCd", b"")[:33] + chunk(b"abCd", b"") * 10**6,
    "a JPEG whose Exif claims 60 GB": jpeg_bomb,
    "a JPEG of two thousand scans": jpeg_of_many_scans,
    "a TIFF that claims 60 GB": tiff_bomb,
    "a TIFF whose strips lie over each other": tiff_of_many_strips,
    "a GIF of ten megabytes of comments": gif_of_comments,
    "a GIF of 300 frames": lambda: animation("GIF"),
    "a WebP of 300 frames": lambda: animation("WEBP"),
    "a PNG of 300 frames": lambda: animation("PNG"),
    "a WebP that says it is large": huge_webp,
}
