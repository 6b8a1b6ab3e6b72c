"""Load errors out of what workers print."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.torchserve.load_log import LoadLog, causes, failure
from kserve_wrapper.torchserve.log_records import VARIABLE, find

TRACEBACK = "Traceback (most recent call last):"
DURING = ["", "During handling of the above exception, another exception occurred:", ""]
DIRECT = ["", "The above exception was the direct cause of the following exception:", ""]
STOPPED = "Error while registering model. Details:"
START = "Listening on port: /tmp/.ts.sock.9000"


def printed(*lines: str, model: str = "m_1.0", port: int = 9000) -> List[str]:
    return [f"1764166870000\tW-{port}-{model}-stdout\tMODEL_LOG\t{line}" for line in lines]


def error(text: str, *code: str) -> List[str]:
    return [TRACEBACK, '  File "x.py", line 1, in <module>', "    code()", *code, text]


def test_the_first_error_counts_and_not_what_followed_from_it() -> None:
    lines = printed(
        START, "Torch worker started.", *error("RuntimeError: 3 layers, not 4"), "Backend worker process died."
    )
    found = causes(lines + printed(*error("RuntimeError: 500 - Unknown exception")))
    assert found == {"m_1.0": "RuntimeError: 3 layers, not 4. Mend the handler or the archive"}


@pytest.mark.parametrize(
    ("chain", "cause"),
    [
        ([*error("KeyError: 'a'"), *DURING, *error("ConfigError: no a")], "ConfigError: no a"),
        ([*error("KeyError: 'a'"), *DIRECT, *error("ConfigError: no a")], "ConfigError: no a"),
        (
            [
                *error("ModuleNotFoundError: No module named 'pandas'"),
                *DURING,
                *error("ModuleNotFoundError: No module named 'ts.torch_handler.m'"),
            ],
            "ModuleNotFoundError: No module named 'pandas'",
        ),
    ],
)
def test_of_a_chain_the_last_counts_but_for_torchserves_own(chain: List[str], cause: str) -> None:
    assert causes(printed(START, *chain))["m_1.0"].startswith(cause + ". ")


def test_what_torch_lists_below_an_error_is_told() -> None:
    said = printed(START, *error("RuntimeError: Error(s) in loading state_dict for M:"), '\tMissing key(s): "a". ')
    assert 'for M: Missing key(s): "a". Pack' in causes(said)["m_1.0"]


@pytest.mark.parametrize("before", ["Invoking custom service failed.", "Prediction error", "CUDA out of memory"])
def test_a_request_that_failed_is_no_load_error(before: str) -> None:
    """A worker that ends later has nothing to do with what it stumbled over before."""
    said = printed(START, "Torch worker started.", "model_name: m, batchSize: 1", before, *error("KeyError: 'inputs'"))
    assert causes(said) == {}
    # Who tries a request wants to hear of it.
    assert failure([line.split("\t")[-1] for line in said]) == ("KeyError: 'inputs'", "Mend the handler or the archive")
    assert causes(printed(START, "Backend worker process died.", *error("BrokenPipeError: [Errno 32]"))) == {}
    assert causes(said + printed(START, *error("A: a"))) == {"m_1.0": "A: a. Mend the handler or the archive"}


def test_each_worker_and_version_has_its_own() -> None:
    lines = [
        *printed(START, *error("A: a")[:3], model="m_1.0"),
        *printed(START, *error("B: b"), model="m_2.0", port=9001),
        *printed("A: a", model="m_1.0"),
        *printed(START, "Torch worker started.", model="n_1.0", port=9002),
    ]
    assert {name: text.partition(".")[0] for name, text in causes(lines).items()} == {"m_1.0": "A: a", "m_2.0": "B: b"}


def test_a_new_process_that_fails_otherwise_counts() -> None:
    lines = [*printed(START, *error("A: a")), *printed(START, *error("B: b")), *printed(START, "Torch worker started.")]
    assert causes(lines)["m_1.0"].startswith("B: b.")


def test_pips_own_line_where_requirements_cannot_be_installed() -> None:
    lines = [
        "1764166870000\tmain\tModelManager\tCustom pip package installation failed for model m:",
        "WARNING: nothing",
        "ERROR: Could not find a version that satisfies the requirement x==1",
        "ERROR: No matching distribution found for x==1",
    ]
    told = causes(lines)["m"]
    assert told.startswith("ERROR: Could not find a version that satisfies the requirement x==1. ")
    assert "requirements.txt" in told


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("ModuleNotFoundError: No module named 'x'", "into the image"),
        ("FileNotFoundError: [Errno 2] No such file: 'x'", "--extra-files"),
        ("_pickle.UnpicklingError: Weights only load failed. weights_only", "state dict"),
        ("RuntimeError: Error(s) in loading state_dict for Net: Missing key(s)", "belong to this model file"),
        ("ImportError: cannot import name 'x' from 'y'", "name no file of the archive like a package"),
        ("ValueError: Expected only one class in custom service code or a function entry point []", "one class"),
        ("RuntimeError: PytorchStreamReader failed reading zip archive", "damaged"),
        ("OSError: [Errno 28] No space left on device", "room for temporary files"),
        ("yaml.scanner.ScannerError: mapping values are not allowed here", "model-config.yaml"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", "GPU"),
        ("SomeError: \x1b[31mred\x07" + "x" * 9999, "handler or the archive"),
    ],
)
def test_the_mend_is_the_causes(text: str, mend: str) -> None:
    told = causes(printed(START, *error(text)))["m_1.0"]
    assert mend in told
    assert told.isprintable()
    assert len(told) < 600


def test_the_file_is_read_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "loads.log"
    log = LoadLog(find({VARIABLE: str(path)}))
    assert log.cause("m", "1.0") is None
    path.write_text("\n".join(printed(START, *error("A: a"))) + "\n")
    assert str(log.cause("m", "1.0")).startswith("A: a")
    assert log.cause("m", "2.0") is None
    with path.open("a") as file:
        file.write("\n".join(printed(START, *error("B: b"))) + "\n")
    assert str(log.cause("m", "1.0")).startswith("B: b")
    assert find({}) is None
    assert LoadLog(None).cause("m", "1.0") is None


def test_what_stopped_the_restoring_is_not_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "loads.log"
    log = LoadLog(path)
    pip = "Custom pip package installation failed for model m"
    said = [f"1\tmain\tModelManager\t{pip}:", "ERROR: no x", f"1\tmain\tSnapshotManager\t{STOPPED} {pip}"]
    path.write_text("\n".join(said) + "\n")
    told = log.stopped(), log.cause("m", "")
    assert told[0] == pip
    assert str(told[1]).startswith("ERROR: no x")
    path.write_text("\n".join(printed(START)) + "\n")
    assert (log.stopped(), log.cause("m", "")) == told


def test_torchserve_cuts_names_of_models(tmp_path: Path) -> None:
    path = tmp_path / "loads.log"
    path.write_text("\n".join(printed(START, *error("A: a"), model="n" * 25 + "_1.0")) + "\n")
    assert LoadLog(path).cause("n" * 40, "1.0") is not None


def test_colours_are_left_out() -> None:
    told = causes(printed(START, *error("AError: \x1b[1mdo\x1b[0m it")))["m_1.0"]
    assert told == "AError: do it. Mend the handler or the archive"


def test_a_syntax_error_says_where() -> None:
    """Its last frame is the file that could not be read."""
    lines = [
        TRACEBACK,
        '  File "/a/loader.py", line 9, in load',
        '  File "/m/h.py", line 3',
        "    def f(:",
        "          ^",
    ]
    told = causes(printed(START, *lines, "SyntaxError: invalid syntax"))["m_1.0"]
    assert told == "SyntaxError: invalid syntax (h.py, line 3). Correct the code there"


@given(st.lists(st.one_of(st.sampled_from(printed(START, *error("A: a"), *DURING)), st.text())))
def test_no_log_breaks_it(lines: List[str]) -> None:
    for told in causes(lines).values():
        assert told.isprintable()
