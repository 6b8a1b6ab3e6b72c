"""A signal before TorchServe is started ends the supervisor, and leaves nothing of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, List

import pytest

from kserve_wrapper.supervisor import main as supervisor


def test_a_signal_while_it_looks_around_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: List[Path] = []

    def interrupted(chosen: Any, run: Path) -> int:
        seen.append(run)
        assert run.is_dir()
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it goes on")

    monkeypatch.setenv("TEMP", str(tmp_path))
    monkeypatch.setattr(supervisor, "_check_length", lambda run: None)
    monkeypatch.setattr(supervisor, "_supervise", interrupted)
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        supervisor.main(["--check"])
    assert ended.value.code == 0
    assert capsys.readouterr().err == "supervisor: SIGTERM: stopped before anything was started\n"
    assert [path.parent for path in seen] == [tmp_path]
    assert not seen[0].exists()
    assert signal.getsignal(signal.SIGTERM) is former
