"""The handler's stages on an NVIDIA GPU beside the same machine's CPU, and the serving stack where it can start."""

from __future__ import annotations

from benchmarks.gpu.command import main

__all__ = ["main"]
