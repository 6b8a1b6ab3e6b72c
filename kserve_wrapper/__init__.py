"""KServe V1 and V2 (Open Inference Protocol) in front of TorchServe."""

from kserve_wrapper._version import __version__

__all__ = ["__version__"]
