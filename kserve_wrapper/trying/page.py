"""The page: Gradio's components around `asking.ask`. Nothing is fetched from elsewhere, nothing is reported."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

# Read when Gradio is imported: no reports, no look-ups.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
from PIL import Image

from kserve_wrapper.trying import asking, forms, pictures
from kserve_wrapper.trying.client import Server, ServerError

#: Sides of the canvas to draw on, in pixels.
_CANVAS = 336
_PREDICTED = "the predicted class"
_NO_EXPLANATION = "no explanation"
_FONTS = ("system-ui", "sans-serif")
_CSS = ".explained {font-size: 1.15em; line-height: 1.9} .legend {color: #666; font-size: .9em}"


def theme() -> Any:
    """Gradio's default with the machine's own fonts; its usual ones come from elsewhere."""
    return gr.themes.Default(font=list(_FONTS), font_mono=["ui-monospace", "monospace"])


def run(server: Server, folder: Path, port: int) -> None:
    """Show the page to this machine until a KeyboardInterrupt.

    Args:
        folder: where requests are put for a browser to save.

    Raises:
        OSError: the port is taken.
    """
    blocks = Page(server, folder).build()
    _, address, _ = blocks.launch(
        server_name="127.0.0.1",
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        theme=theme(),
        css=_CSS,
        footer_links=[],
        ssr_mode=False,
        enable_monitoring=False,
        allowed_paths=[str(folder)],
    )
    print(f"Open {address} in a browser; Ctrl-C ends the page", flush=True)
    try:
        blocks.block_thread()
    finally:
        blocks.close()


class Page:
    """A page for one server.

    Args:
        server: is asked for its models when the page is built and whenever a browser opens it.
        folder: where requests are put for a browser to save.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self._folder = server, folder

    def build(self) -> Any:
        """The Blocks, not launched."""
        with gr.Blocks(title=f"Try {self._server.base}", analytics_enabled=False) as blocks:
            gr.Markdown(f"## Try the models of `{self._server.base}`")
            with gr.Row():
                with gr.Column():
                    inputs = self._questions()
                with gr.Column():
                    outputs = self._answers()
            self._events(blocks, inputs, outputs)
        return blocks

    def _questions(self) -> Dict[str, Any]:
        made: Dict[str, Any] = {"model": gr.Dropdown([], label="Model", elem_id="model")}
        made["about"] = gr.Markdown(elem_id="about")
        with gr.Group(visible=False, elem_id="image-form") as made["image"]:
            with gr.Tabs() as made["tabs"]:
                with gr.Tab("Draw", id="draw") as draw:
                    made["canvas"] = _canvas()
                with gr.Tab("Picture", id="picture") as drop:
                    made["file"] = _dropped()
            made["tab"] = gr.State("draw")
            draw.select(lambda: "draw", None, made["tab"])
            drop.select(lambda: "picture", None, made["tab"])
        made["text"] = gr.Textbox(lines=3, label="Text", visible=False, elem_id="text")
        made["table"] = gr.Dataframe(type="array", visible=False, interactive=True, label="Rows", elem_id="table")
        with gr.Row():
            made["target"] = gr.Dropdown([_PREDICTED], value=_PREDICTED, label="Explain", elem_id="target")
            made["method"] = gr.Dropdown([_NO_EXPLANATION], value=_NO_EXPLANATION, label="By", elem_id="method")
        made["ask"] = gr.Button("Ask", variant="primary", elem_id="ask")
        return made

    def _answers(self) -> List[Any]:
        return [
            gr.Markdown(elem_id="error", visible=False),
            gr.Textbox(label="Answer", elem_id="answer", lines=1, max_lines=10, interactive=False),
            gr.Label(label="Classes", elem_id="classes", visible=False, show_heading=False),
            gr.Image(
                label="Why",
                elem_id="heat",
                visible=False,
                show_label=False,
                format="png",
                buttons=["download", "fullscreen"],
            ),
            gr.HTML(elem_id="why", visible=False),
            gr.Textbox(label="Time, as seen from here", elem_id="time", interactive=False),
            gr.Code(label="The same by curl", language="shell", elem_id="curl", interactive=False, max_lines=12),
            gr.File(label="What was sent", elem_id="sent", visible=False),
        ]

    def _events(self, blocks: Any, made: Dict[str, Any], outputs: List[Any]) -> None:
        shape = [made[name] for name in ("about", "image", "text", "table", "target", "method")]
        blocks.load(self._models, None, [made["model"], outputs[0]])
        made["model"].change(self._form, made["model"], [*shape, outputs[0]])
        filled = [made[name] for name in ("model", "tab", "canvas", "file", "text", "table", "target", "method")]
        for event in (made["ask"].click, made["text"].submit):
            event(self._ask, filled, outputs)

    def _models(self) -> Tuple[Any, Any]:
        try:
            names = self._server.models()
        except ServerError as error:
            return gr.Dropdown(choices=[]), _error([str(error)])
        if not names:
            return gr.Dropdown(choices=[]), _error([f"{self._server.base} serves no model"])
        return gr.Dropdown(choices=names, value=names[0]), _error([])

    def _form(self, model: Optional[str]) -> List[Any]:
        """What the question looks like for a model: about, image, text, table, target, method, error."""
        error: List[str] = []
        form: Optional[forms.Form] = None
        if model:
            try:
                form = forms.read_form(self._server.metadata(model))
            except (ServerError, forms.FormError) as fault:
                error.append(str(fault))
        kind = "" if form is None else form.kind
        columns = form.columns if form is not None and kind == forms.TABLE else ["-"]
        methods = list(form.methods) if form is not None else []
        labels = list(form.labels) if form is not None else []
        return [
            "" if form is None else _about(form),
            gr.Group(visible=kind == forms.IMAGE),
            gr.Textbox(visible=kind == forms.TEXT),
            gr.Dataframe(value=[[""] * len(columns)], headers=columns, visible=kind == forms.TABLE),
            gr.Dropdown(
                choices=[(_PREDICTED, -1), *((label, number) for number, label in enumerate(labels))],
                value=-1,
                visible=bool(methods),
            ),
            gr.Dropdown(
                choices=[*methods, _NO_EXPLANATION],
                value=methods[0] if methods else _NO_EXPLANATION,
                visible=bool(methods),
            ),
            _error(error),
        ]

    def _ask(
        self, model: str, tab: str, canvas: Any, file: Optional[str], text: str, rows: Any, target: Any, method: str
    ) -> List[Any]:
        try:
            form = forms.read_form(self._server.metadata(model or ""))
            picture = _picture(form, tab, canvas, file) if form.kind == forms.IMAGE else None
        except (ServerError, forms.FormError, OSError) as error:
            return self._show(asking.Shown(errors=[str(error)]))
        question = asking.Question(
            model,
            picture,
            text or "",
            rows if rows is not None else (),
            None if method == _NO_EXPLANATION else method,
            target if isinstance(target, int) and target >= 0 else None,
        )
        return self._show(asking.ask(self._server, form, question))

    def _show(self, shown: asking.Shown) -> List[Any]:
        return [
            _error(shown.errors),
            shown.words,
            gr.Label(value=shown.scores or None, visible=bool(shown.scores)),
            gr.Image(value=shown.picture, visible=shown.picture is not None),
            gr.HTML(value=shown.html, visible=bool(shown.html)),
            shown.time,
            "\n".join(shown.curl),
            gr.File(value=self._files(shown), visible=bool(shown.files)),
        ]

    def _files(self, shown: asking.Shown) -> Optional[List[str]]:
        if not shown.files:
            return None
        # Several browsers may ask at once.
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        for name, content in shown.files.items():
            (folder / name).write_text(content, encoding="utf-8")
        return [str(folder / name) for name in shown.files]


def _dropped() -> Any:
    """The file as it was dropped: Gradio would cut 16 bits to 8, and fail without a word at what is no picture."""
    made = gr.Image(type="filepath", sources=["upload", "clipboard"], label="Drop a picture")
    usual = made.preprocess
    # Not by deriving from it: Gradio writes a file beside the source of every class of components.
    made.preprocess = lambda payload: payload.path if payload is not None and payload.path else usual(payload)
    return made


def _canvas() -> Any:
    return gr.ImageEditor(
        value=_blank(),
        type="pil",
        image_mode="RGB",
        sources=[],
        transforms=[],
        layers=False,
        canvas_size=(_CANVAS, _CANVAS),
        fixed_canvas=True,
        brush=gr.Brush(default_size=_CANVAS // 14, colors=["#ffffff", "#000000"], default_color="#ffffff"),
        eraser=gr.Eraser(default_size=_CANVAS // 10),
        label="Draw: press the brush first",
        elem_id="canvas",
    )


def _blank() -> Dict[str, Any]:
    black = Image.new("RGB", (_CANVAS, _CANVAS))
    return {"background": black, "layers": [], "composite": black}


def _picture(form: forms.Form, tab: str, canvas: Any, file: Optional[str]) -> Image.Image:
    """What was drawn, made as small as the model takes it, or the picture that was dropped, turned upright.

    Raises:
        FormError: there is none, or it is no picture.
    """
    if tab == "picture":
        if not file:
            raise forms.FormError("there is no picture: drop one")
        try:
            return pictures.open_picture(file, form.mode)
        except pictures.PictureError as error:
            raise forms.FormError(f"the picture: {error}") from None
    drawn = (canvas or {}).get("composite")
    if drawn is None or not drawn.convert("L").getbbox():
        raise forms.FormError("nothing is drawn yet: press the brush, then draw")
    _, height, width = form.inputs[0].shape
    picture: Image.Image = drawn.convert(form.mode)
    side = max(height, width)
    return picture.resize((side, side), Image.Resampling.LANCZOS) if 0 < side < _CANVAS else picture


def _about(form: forms.Form) -> str:
    taken = ", ".join(f"`{one.name}` {one.datatype} {list(one.shape)}" for one in form.inputs)
    return f"A row is {taken or 'not told by this model'}."


def _error(errors: Sequence[str]) -> Any:
    text = "\n\n".join(f"**The server or this page says:** {error}" for error in errors)
    return gr.Markdown(value=text, visible=bool(errors))
