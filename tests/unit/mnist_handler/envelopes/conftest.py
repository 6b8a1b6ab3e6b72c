"""TorchServe leaves a file open while it is imported; that warning is not ours to fix."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ts.model_loader  # noqa: F401
