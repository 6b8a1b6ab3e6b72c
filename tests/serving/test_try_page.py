"""``ts-kserve try`` in a real browser, over real TorchServe: a drawn digit, a dropped picture, a text, a table."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest

from kserve_wrapper.archiver import build
from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.modelstore.write import snapshot_of
from scripts.serving import stop, supervised
from tests.samples import ROOT
from tests.serving.mixed import png
from tests.serving.servers import Served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytest.importorskip("gradio", reason="the page needs gradio (the extra try): pip install gradio")
api = pytest.importorskip("playwright.sync_api", reason="a browser is driven by playwright: pip install playwright")
if CHROMIUM is None:
    pytest.skip("no browser: install one (Debian: apt-get install chromium)", allow_module_level=True)

HANDLERS = ROOT / "tests" / "serving" / "handlers"
LABELS = {"words": ["negative", "positive"], "churn": ["stays", "leaves"]}
# Nothing that a browser does by itself reaches out.
FLAGS = ["no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update", "disable-sync"]
TIME = "document.querySelector('#time textarea, #time input')?.value"
ERROR = "document.querySelector('#error')?.innerText"
MOMENT = 30_000


def source(folder: Path, name: str) -> Path:
    """A model's folder as a person would make it."""
    folder = folder / name
    folder.mkdir(parents=True)
    shutil.copy(HANDLERS / f"{name}_handler.py", folder)
    (folder / "index_to_name.json").write_text(json.dumps(dict(enumerate(LABELS[name]))))
    packed = {"version": "1.0", "handler": f"{name}_handler.py", "packages": ["mnist_handler"]}
    (folder / "mar.json").write_text(json.dumps({**packed, "extra_files": ["index_to_name.json"]}))
    return folder


@pytest.fixture(scope="module")
def several(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Images, text and a table behind one wrapper."""
    folder = tmp_path_factory.mktemp("several")
    for name in LABELS:
        build(source(folder / "source", name), folder / "store")
    shutil.copy(store / "mnist.mar", folder / "store")
    http_port, grpc_port, log = free_port(), free_port(), folder / "served.log"
    settings = {"model_snapshot": snapshot_of(sorted((folder / "store").glob("*.mar")))}
    with supervised(folder / "store", log, http_port, grpc_port, settings):
        yield Served(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", log)


@pytest.fixture(scope="module")
def page_address(several: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of ``several``."""
    folder = tmp_path_factory.mktemp("page")
    command = [sys.executable, "-m", "kserve_wrapper.commands.main", "try", several.base, "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline(), process.stdout.readline()]
            assert lines[0] == f"{several.base} serves churn, mnist, words\n"
            yield lines[1].split()[1]
        finally:
            # Ctrl-C would be ignored where the tests themselves run in a shell's background.
            stop(process)
    assert process.returncode == 0
    assert list(folder.glob("ts-kserve-try-*")) == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in FLAGS])
        yield running
        running.close()


@contextmanager
def opened(browser: Any, address: str, model: str) -> Iterator[Any]:
    """The page with a model chosen; asks nobody but this machine."""
    page = browser.new_page(viewport={"width": 1280, "height": 1150})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(MOMENT)
    page.goto(address)
    page.wait_for_function("document.querySelector('#about')?.innerText.includes('A row is')", polling=100)
    page.locator("#model input").click()
    page.get_by_role("option", name=model, exact=True).click()
    try:
        yield page
    finally:
        page.close()
    assert [url for url in asked if not url.startswith((address.rstrip("/"), "data:", "blob:"))] == []


def choose(page: Any, menu: str, item: str) -> None:
    page.locator(f"#{menu} input").click()
    page.get_by_role("option", name=item, exact=True).click()


def ask(page: Any, verb: str = "explain") -> str:
    """Press the button; the answer in words."""
    page.locator("#ask").click()
    page.wait_for_function(f"{TIME}?.includes('{verb}') || {ERROR}", polling=100)
    assert page.evaluate(f"{ERROR} || ''") == ""
    answer: str = page.locator("#answer textarea").input_value()
    return answer


def type_into(page: Any, column: int, value: str) -> None:
    """Write a cell of the table's first row. Keys typed before its editor is there are lost."""
    cell = page.locator("#table [data-row='0']").nth(column)
    cell.dblclick()
    editor = cell.locator("textarea")
    editor.fill(value)
    editor.press("Enter")
    editor.wait_for(state="detached")
    api.expect(cell.locator("[data-editable]")).to_have_text(value, timeout=MOMENT)


def draw_a_seven(page: Any) -> None:
    page.wait_for_selector("#canvas canvas")
    page.locator("#canvas button[aria-label=Brush]").click()
    page.wait_for_timeout(300)
    box = page.locator("#canvas canvas").first.bounding_box()
    side = min(box["width"], box["height"])

    def at(across: float, down: float) -> tuple[float, float]:
        return box["x"] + box["width"] / 2 + across * side, box["y"] + box["height"] / 2 + down * side

    page.mouse.move(*at(-0.2, -0.25))
    page.mouse.down()
    for place in (at(0.2, -0.25), at(-0.05, 0.3)):
        page.mouse.move(*place, steps=12)
    page.mouse.up()
    page.wait_for_timeout(500)


def test_a_drawn_digit_is_answered_and_explained(browser: Any, page_address: str, several: Served) -> None:
    with opened(browser, page_address, "mnist") as page:
        draw_a_seven(page)
        assert ask(page).startswith("a 7, ")
        page.wait_for_selector("#heat img")
        assert page.locator("#heat img").evaluate("image => image.naturalWidth") > 600
        assert page.locator("#classes").inner_text().split()[1] == "7"
        if os.environ.get("SCREENSHOT"):
            page.wait_for_timeout(500)
            page.screenshot(path=os.environ["SCREENSHOT"], full_page=True)
        lines = page.locator("#curl .cm-line").all_inner_texts()
    predict = shlex.split(lines[0])
    assert predict[:3] == ["curl", f"{several.base}/v2/models/mnist/infer", "-d"]
    assert several.post("/v2/models/mnist/infer", json.loads(predict[3]))["outputs"][0]["data"] == [7]


def test_a_dropped_picture_and_a_target_of_ones_own(browser: Any, page_address: str, tmp_path: Path) -> None:
    (tmp_path / "digit.png").write_bytes(png(0))
    with opened(browser, page_address, "mnist") as page:
        page.get_by_role("tab", name="Picture").click()
        page.locator("#image-form input[type=file]").last.set_input_files(str(tmp_path / "digit.png"))
        page.wait_for_selector("#image-form img")
        choose(page, "target", "3")
        choose(page, "method", "saliency")
        assert ask(page)
        assert '"target":3' in page.locator("#curl").inner_text()
        assert '"method":"saliency"' in page.locator("#curl").inner_text()


def test_words_are_coloured_by_what_they_say(browser: Any, page_address: str) -> None:
    with opened(browser, page_address, "words") as page:
        page.wait_for_selector("#text textarea")
        page.locator("#text textarea").fill("a very good film")
        assert ask(page).startswith("positive, ")
        page.wait_for_selector("#why .explained")
        words = page.locator("#why .explained span").evaluate_all(
            "all => all.map(one => [one.innerText, one.style.background !== ''])"
        )
    assert words == [["a", False], ["very", False], ["good", True], ["film", False]]


def test_a_tables_row_is_answered_and_errors_are_the_servers_words(browser: Any, page_address: str) -> None:
    with opened(browser, page_address, "churn") as page:
        page.wait_for_selector("#table")
        for column, value in enumerate(("2", "1", "0", "0")):
            type_into(page, column, value)
        assert ask(page).startswith("leaves, ")
        page.wait_for_selector("#why .explained")
        assert "usage[0]" in page.locator("#why").inner_text()
        type_into(page, 3, "9")
        page.locator("#ask").click()
        page.wait_for_function(f"{ERROR}?.includes('400: row 0')", polling=100)
        assert "plan" in page.locator("#error").inner_text()
