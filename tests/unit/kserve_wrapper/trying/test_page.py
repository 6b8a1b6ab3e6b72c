"""What the page makes of a dropped file, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

gradio = pytest.importorskip("gradio", reason="the page needs the extra try")

from kserve_wrapper.trying import forms, page  # noqa: E402
from tests.unit.kserve_wrapper.trying.test_forms import DIGITS  # noqa: E402


@pytest.mark.parametrize("name", ["deep.png", "phone.heic", "note.txt"])
def test_a_file_arrives_as_it_was_dropped(name: str, tmp_path: Path) -> None:
    """Sixteen bits too, and what is no picture, which is told in words."""
    dropped = page._dropped()
    file = tmp_path / name
    file.write_bytes(b"\x00\x00\x00\x18ftypheic")
    if name == "deep.png":
        Image.new("I;16", (30, 30), 257 * 40).save(file)
    data = gradio.data_classes.ImageData(path=str(file), orig_name=name)
    assert dropped.preprocess(data) == str(file)
    assert dropped.preprocess(None) is None
    form = forms.read_form(DIGITS)
    if name == "deep.png":
        assert page._picture(form, "picture", None, str(file)).getpixel((0, 0)) == 40
    else:
        with pytest.raises(forms.FormError, match="the picture: no picture that can be read"):
            page._picture(form, "picture", None, str(file))
