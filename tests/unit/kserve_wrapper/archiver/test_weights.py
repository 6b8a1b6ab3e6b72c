"""What the fetch.py of the models share."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="weights are torch's")
from kserve_wrapper.archiver import weights  # noqa: E402

NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
"""


def test_a_network_is_its_files_class_and_settles_to_what_it_sees(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    model = weights.network(tmp_path / "net.py", "Net")
    before = model.state_dict()["1.running_var"].clone()
    weights.settle(model, 16)
    assert not model.training
    assert not torch.equal(model.state_dict()["1.running_var"], before)


@pytest.mark.parametrize(("file", "name", "said"), [("no.py", "Net", "is missing"), ("net.py", "Not", "no class Not")])
def test_what_is_not_there_is_named(tmp_path: Path, file: str, name: str, said: str) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    with pytest.raises(weights.FetchError, match=said):
        weights.network(tmp_path / file, name)


def test_weights_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "made" / "net.pt"
    weights.save({"a": torch.ones(2)}, file)
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        weights.save({"a": lambda: None}, file)  # type: ignore[dict-item]
    assert torch.equal(torch.load(file, weights_only=True)["a"], torch.ones(2))


def test_the_command_line_says_why_there_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fetch(folder: Path, random_weights: bool) -> str:
        if random_weights:
            return f"{folder} at random"
        with weights.downloaded("no-such-package-of-weights==0"):
            return "never"

    assert weights.main("What it does.", tmp_path, fetch, []) == 1
    said = capsys.readouterr().err
    assert "could not download no-such-package-of-weights==0" in said
    assert "--random-weights does without" in said
    assert weights.main("What it does.", tmp_path, fetch, ["--random-weights", "--out", str(tmp_path / "x")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x'} at random\n"


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with weights.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
