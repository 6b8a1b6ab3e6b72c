"""The report of a GPU run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from benchmarks.reports import markdown

TITLES = {
    "requests": "Requests, bytes in to bytes out",
    "settings": "Other settings",
    "cpu": "The CPU of this machine",
    "explain": "Integrated gradients, 15 steps",
}
WORDS = {
    "requests": "One worker, one request after another, as TorchServe's worker hands them to its handler: V1, base64 "
    "of PNG (MNIST) or of JPEG (ResNet-50's shape, random weights), token ids (an encoder of MiniLM's size, random "
    "weights); JSON parsed, decoded, computed, answered. Times are milliseconds a request of so many rows; `model ms` "
    "is the handler's inference alone, rows on the device already. `off` is the greatest difference of scores from "
    "float32 on the CPU, over the greatest score.",
    "cpu": "The same requests with the GPU out of sight.",
    "explain": "Decoding and JSON included.",
}
#: In what order the report shows parts.
ORDER = ("requests", "settings", "cpu", "explain")


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown.

    Raises:
        ValueError: a result of the command as it was before it had a budget.
    """
    if "budget" not in result:
        raise ValueError(f"an older kind of result: make its report with the code of {result['machine']['commit']}")
    parts = [markdown.heading("GPU", result["machine"], interleaved=False)]
    if result["device"] == "cpu":
        parts.append("**A self-test on a CPU: no GPU was measured.**\n")
    parts.append(f"Budget {result['budget']:.0f} s, used {result.get('seconds', 0):.0f} s.\n")
    parts.append(_tests(result["tests"]))
    for part in ORDER:
        entries = [one for one in result["entries"] if one["part"] == part]
        if entries:
            parts.append(f"## {TITLES[part]}\n\n{WORDS.get(part, '')}\n")
            parts.append(_requests(entries, explained=part == "explain"))
    parts += [_photographs(result), _traces(result), _packages(result), _serving(result), _lost(result)]
    return "\n".join(part for part in parts if part)


def _lines(entry: Mapping[str, Any], key: str) -> List[Mapping[str, Any]]:
    return [line for line in entry["lines"] if key in line]


def _part(result: Mapping[str, Any], part: str) -> List[Mapping[str, Any]]:
    return [one for one in result["entries"] if one["part"] == part]


def _tests(tests: Optional[Mapping[str, Any]]) -> str:
    if tests is None:
        return ""
    counts = ", ".join(f"{tests[kind]} {kind}" for kind in ("passed", "failed", "error", "skipped") if tests[kind])
    text = f"## Tests\n\ntest_cuda.py and test_cuda_graphs.py: {counts or 'none ran'}"
    text += "; ended before the last one.\n" if tests["late"] else ".\n"
    return text + "".join(f"\n- failed: `{name}`" for name in tests["failures"]) + "\n"


def _mode(entry: Mapping[str, Any]) -> List[str]:
    """Handler, compile mode and precision in words."""
    setting, loaded = entry["setting"], (_lines(entry, "float32") or [{}])[0]
    config = setting.get("config") or {}
    packaged = setting.get("package")
    precision = "bf16" if packaged and "bf16" in packaged else config.get("precision", "fp32")
    if precision == "fp32" and loaded.get("float32", "float32") != "float32":
        precision = f"fp32 ({loaded['float32']})"
    return [setting["handler"], "AOTInductor" if packaged else config.get("compile", "eager"), precision]


def _requests(entries: Sequence[Mapping[str, Any]], explained: bool) -> str:
    rows = []
    for entry in sorted(entries, key=lambda one: str(one["setting"]["model"])):
        known = {**(_lines(entry, "load_s") or [{}])[0]}
        for line in _lines(entry, "p50_ms"):
            figures = [markdown.number(line[key]) for key in ("p50_ms", "p95_ms", "p99_ms", "rows_per_second")]
            model = [] if explained else [markdown.number(line["inference_ms"]), markdown.number(known["distance"])]
            setting = [str(entry["setting"]["model"]), *_mode(entry), str(line["batch"])]
            rows.append([*setting, *figures, str(line["calls"]), *model])
    header = ["model", "handler", "mode", "precision", "rows", "p50", "p95", "p99", "rows/s", "calls"]
    table = markdown.table(header + ([] if explained else ["model ms", "off"]), rows)
    return table + "\n\n" + _loads(entries)


def _loads(entries: Sequence[Mapping[str, Any]]) -> str:
    """Seconds of load and the GPU's memory."""
    texts = []
    for entry in entries:
        for line in _lines(entry, "load_s"):
            held = [f", {one['most_mib']:.0f} MiB" for one in _lines(entry, "most_mib") if one["most_mib"]]
            name = " ".join([str(entry["setting"]["model"]), *_mode(entry)])
            texts.append(f"{name} {line['load_s']:.1f} s{''.join(held)}")
    return f"Load and warm-up, with the device's memory that torch held at most: {'; '.join(texts)}.\n"


def _photographs(result: Mapping[str, Any]) -> str:
    rows = []
    for entry in _part(result, "photographs"):
        for line in _lines(entry, "way"):
            ms = markdown.number(line["ms"]) if "ms" in line else "-"
            rows.append([line["way"], ms, markdown.number(line["off"]) if "off" in line else line["error"]])
    if not rows:
        return ""
    words = (
        "32 JPEGs of 1152 x 864, to 224 x 224 on the device. `off`: mean difference of pixels from the first, of 255."
    )
    return f"## Photographs\n\n{words}\n\n{markdown.table(['way', 'ms a photograph', 'off'], rows)}\n"


def _traces(result: Mapping[str, Any]) -> str:
    texts = []
    for entry in _part(result, "trace"):
        for line in _lines(entry, "request_us"):
            idle = "" if line["idle"] is None else f"the GPU idles {line['idle']:.0%} of the time; "
            longest = "; ".join(f"`{name}` {markdown.number(took)}" for name, took in line["longest"])
            took = markdown.number(line["request_us"])
            counts = f"{line['kernels']:.1f} kernels and copies on it, {line['copies']:.1f} copies started"
            texts.append(
                f"{entry['setting']['model']}, {line['batch']} rows, {took} us a request: {idle}{counts} and "
                f"{line['waits']:.1f} waits of the host a request. Longest, in us a request: {longest}.\n"
            )
    return "## Traces\n\nWith the profiler on, which costs time itself.\n\n" + "\n".join(texts) if texts else ""


def _packages(result: Mapping[str, Any]) -> str:
    lines = [line for entry in _part(result, "packages") for line in _lines(entry, "package")]
    made = [f"{one['package']} {one['seconds']:.0f} s, {one['mib']:.0f} MiB" for one in lines]
    return f"## AOTInductor\n\nCompiled beforehand, beside the tests: {'; '.join(made)}.\n" if made else ""


def _serving(result: Mapping[str, Any]) -> str:
    runs = [line["run"] for entry in _part(result, "serving") for line in _lines(entry, "run")]
    if not runs:
        return ""
    from benchmarks.reports.serving import case_table  # draws, which a GPU machine may have nothing for

    texts = [f"{run['form']}, {run['connections']} connections\n\n{case_table([run])}\n" for run in runs]
    return "## Serving\n\n" + "\n".join(texts)


def _lost(result: Mapping[str, Any]) -> str:
    """What failed and what was left out, each with its reason."""
    lost: Dict[str, str] = {one["name"]: one["why"] for one in result["left_out"]}
    for entry in result["entries"]:
        for line in entry["lines"]:
            if "error" in line and "way" not in line:
                lost[entry["name"]] = line["error"]
    rows = [[name, why.replace("|", "/").replace("\n", " ")] for name, why in lost.items()]
    return f"## Not measured\n\n{markdown.table(['what', 'why'], rows)}\n" if rows else ""
