"""Handlers for TorchServe's worker: any batch, any row, any device.

Importing this package puts its KServe envelopes where TorchServe looks for them.
"""

from __future__ import annotations

from mnist_handler.envelopes.install import install_envelopes
from mnist_handler.handler import RowHandler
from mnist_handler.image_classifier import ImageClassifier
from mnist_handler.inputs.parameters import DeclaredParameter
from mnist_handler.inputs.spec import InputSpec
from mnist_handler.mnist import MNISTDigitClassifier
from mnist_handler.outputs import OutputSpec
from mnist_handler.requests import Answer, InputValues, Request, RequestError

__all__ = [
    "Answer",
    "DeclaredParameter",
    "ImageClassifier",
    "InputSpec",
    "InputValues",
    "MNISTDigitClassifier",
    "OutputSpec",
    "Request",
    "RequestError",
    "RowHandler",
    "install_envelopes",
]

install_envelopes()
