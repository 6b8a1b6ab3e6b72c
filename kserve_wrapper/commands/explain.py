"""Explain what a running model makes of an image or a text, as a picture.

    ts-kserve explain digit.png --out heat.png
    ts-kserve explain "what a lovely day" --model sentiment --out words.png

Red speaks for the class, blue against it. The class is the predicted one unless --target names another. Exit status: 0,
1 where the server refuses or cannot explain, 2 where there is no such server or model.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from PIL import Image, ImageDraw, ImageFont

#: Pixels of the longer side that a picture has at least; smaller ones are enlarged by whole pixels.
_LEAST = 280
_MARGIN, _HEIGHT, _WIDTH = 6, 34, 640
RED, BLUE = (214, 39, 40), (31, 119, 180)


class NoExplanation(Exception):
    """There is none; the message says why. ``status`` is the command's."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    options = parser().parse_args(arguments)
    try:
        model = options.model or only_model(options.url)
        encoded, row = read_row(options.what)
        found = ask(options, model, row, encoded)
        target = found.get("target")
        if encoded:
            picture = enlarged(_picture(found))
        else:
            words, scores = _words(found)
            print(" ".join(f"{word}({score:+.2g})" for word, score in zip(words, scores)))
            picture = draw_words(words, scores)
        picture.save(options.out, "PNG")
    except NoExplanation as error:
        print(f"explain: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"explain: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: what speaks for {'the class' if target is None else target} (red) and against it (blue)")
    return 0


def read_row(what: str) -> Tuple[bool, Any]:
    """Whether it is an image, and the V1 row: a file's image in base64, a file's text, or the text itself."""
    path = Path(what)
    try:
        content = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise NoExplanation(f"{path}: {error.strerror}", 2) from error
    if content is None:
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"):
            raise NoExplanation(f"{path}: there is no such file", 2)
        return False, what
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
    except Exception as error:  # Pillow raises whatever a damaged file makes it raise
        try:
            return False, content.decode("utf-8")
        except UnicodeDecodeError:
            raise NoExplanation(f"{path}: neither an image nor a text: {error}", 2) from None
    return True, base64.b64encode(content).decode("ascii")


def only_model(url: str) -> str:
    """The name of the only model that the server has. Raises NoExplanation, OSError."""
    with urllib.request.urlopen(f"{url}/v1/models", timeout=30) as response:
        models: List[str] = json.load(response)["models"]
    if len(models) != 1:
        raise NoExplanation(f"name one of the models with --model: {', '.join(models) or 'none is served'}", 2)
    return models[0]


def ask(options: argparse.Namespace, model: str, row: Any, image: bool) -> Dict[str, Any]:
    """The explanation's outputs of the row. Raises NoExplanation, OSError."""
    parameters: Dict[str, Any] = {"targets": True}
    if image:
        parameters["format"] = "png"
    if options.method:
        parameters["method"] = options.method
    if options.target is not None:
        parameters["target"] = int(options.target) if options.target.isdecimal() else options.target
    request = {"instances": [{"data": row} if image else row], "parameters": parameters}
    asked = urllib.request.Request(f"{options.url}/v1/models/{model}:explain", json.dumps(request).encode())
    try:
        with urllib.request.urlopen(asked, timeout=options.timeout) as response:
            found = json.load(response)["explanations"][0]
    except urllib.error.HTTPError as error:
        raise NoExplanation(_said(error.read()), 2 if error.code == 404 else 1) from error
    return found if isinstance(found, dict) else {"explain": found}


def _said(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace")[:500]


def _picture(found: Dict[str, Any]) -> Image.Image:
    drawn = found.get("explain")
    if not isinstance(drawn, str):
        raise NoExplanation("the model gave numbers and no picture: its handler is not on mnist_handler's base")
    image: Image.Image = Image.open(io.BytesIO(base64.b64decode(drawn)))
    return image


def enlarged(picture: Image.Image) -> Image.Image:
    """Small pictures by a whole factor, so that a pixel stays one square."""
    factor = max(1, -(-_LEAST // max(picture.size)))
    size = (picture.width * factor, picture.height * factor)
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST)


def _words(found: Dict[str, Any]) -> Tuple[List[str], List[float]]:
    words, scores = found.get("tokens"), found.get("explain")
    if not isinstance(words, list) or not isinstance(scores, list) or len(words) != len(scores):
        raise NoExplanation("the model does not say its words: its handler needs the hook tokens (docs/handler.md)")
    return [str(word) for word in words], [float(score) for score in scores]


def draw_words(words: Sequence[str], scores: Sequence[float]) -> Image.Image:
    """The words in lines, each over the colour of its score; the strongest has the full colour."""
    font = _font()
    reach = max((abs(score) for score in scores), default=0.0) or 1.0
    places, left, line = [], _MARGIN, 0
    for word in words:
        width = int(font.getlength(word)) + 2 * _MARGIN
        if left + width > _WIDTH and left > _MARGIN:
            left, line = _MARGIN, line + 1
        places.append((left, line * _HEIGHT + _MARGIN, width))
        left += width
    picture = Image.new("RGB", (_WIDTH, (line + 1) * _HEIGHT + _MARGIN), "white")
    pen = ImageDraw.Draw(picture)
    for word, score, (x, y, width) in zip(words, scores, places):
        share, colour = abs(score) / reach, RED if score > 0 else BLUE
        shade = tuple(round(255 - (255 - part) * share * 0.85) for part in colour)
        pen.rectangle((x, y, x + width - 2, y + _HEIGHT - 4), fill=shade)
        pen.text((x + _MARGIN, y + 6), word, fill="black", font=font)
    return picture


def _font() -> Any:
    try:
        return ImageFont.load_default(16)
    except TypeError:  # before Pillow 10.1 there is one size
        return ImageFont.load_default()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="ts-kserve explain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("what", metavar="IMAGE|TEXT", help="an image's or a text's file, or the text itself")
    made.add_argument("--url", type=_base, default="http://127.0.0.1:8080", help="the server (default: %(default)s)")
    made.add_argument("--model", help="its name; not needed where there is one")
    made.add_argument("--target", help="the class to explain, by number or name (default: the predicted one)")
    made.add_argument("--method", help="Captum's method (default: integrated_gradients)")
    made.add_argument("--out", type=Path, default=Path("heat.png"), metavar="FILE", help="default: %(default)s")
    made.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="default: %(default)g")
    return made


def _base(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is no address: write http://HOST:PORT")
    return text.rstrip("/")
