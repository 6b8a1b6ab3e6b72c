"""The handler on a GPU, within a budget of seconds: the most telling first, each setting in a process of its own.

``command`` is the entry, ``plan`` says what is measured in which order, ``process`` starts and collects, ``job`` is the
process: it prepares and packages (``models``), times requests (``served``), decodes photographs and traces.
"""

from __future__ import annotations

from benchmarks.gpu.command import main

__all__ = ["main"]
