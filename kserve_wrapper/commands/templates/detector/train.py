"""Writes template_name.pt and example.json: the model has nothing to learn; put your training here."""

import base64
import io
import json
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from template_name import TemplateName

HERE = Path(__file__).resolve().parent


def picture(*boxes: tuple[int, int, int, int]) -> str:
    """A PNG with white boxes on black, in base64."""
    image = Image.new("RGB", (32, 32))
    for left, top, right, bottom in boxes:
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill="white")
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    torch.save(TemplateName().state_dict(), HERE / "template_name.pt")
    example = {"instances": [{"data": picture((8, 10, 20, 30))}, {"data": picture((1, 2, 9, 8), (20, 22, 31, 30))}]}
    (HERE / "example.json").write_text(json.dumps(example) + "\n")
    print("written")


if __name__ == "__main__":
    main()
