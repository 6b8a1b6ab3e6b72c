"""Handlers for TorchServe's worker: any batch, any row, any device.

Importing this package puts its KServe envelopes where TorchServe looks for them.
"""

from __future__ import annotations

from mnist_handler.envelopes.install import install_envelopes
from mnist_handler.handler import RowHandler
from mnist_handler.image_classifier import ImageClassifier
from mnist_handler.inputs.spec import InputSpec
from mnist_handler.mnist import MNISTDigitClassifier
from mnist_handler.requests import Answer, Block, Request, RequestError

__all__ = [
    "Answer",
    "Block",
    "ImageClassifier",
    "InputSpec",
    "MNISTDigitClassifier",
    "Request",
    "RequestError",
    "RowHandler",
    "install_envelopes",
]

install_envelopes()
