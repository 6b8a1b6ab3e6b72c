"""All clients speak to one running server: the serving tests' own."""

from __future__ import annotations

from tests.serving.conftest import pytest_runtest_makereport, served, store

__all__ = ["pytest_runtest_makereport", "served", "store"]
