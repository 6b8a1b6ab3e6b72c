"""Model archives (MARs): what a model's folder says of one, how it is packed, and whether it loads."""

from __future__ import annotations

from kserve_wrapper.archiver.build import build
from kserve_wrapper.archiver.checked import ask, build_checked, example, read_request
from kserve_wrapper.archiver.description import BuildError, read_description

__all__ = ["BuildError", "ask", "build", "build_checked", "example", "read_description", "read_request"]
