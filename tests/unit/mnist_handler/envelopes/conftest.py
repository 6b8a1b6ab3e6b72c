"""TorchServe leaves a file open while it is imported; that warning is not ours to fix."""

from __future__ import annotations

import warnings

from hypothesis import HealthCheck, settings

# How fast examples are made and run says how busy the machine is, and nothing about the code.
settings.register_profile("envelopes", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("envelopes")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ts.model_loader  # noqa: F401
