"""Errors that only HTTP has."""

from __future__ import annotations

from kserve_wrapper.core.errors import WrapperError


class RequestTimeout(WrapperError):
    """The request did not arrive in time."""

    status = 408


class HeadTooLarge(WrapperError):
    """Request line and headers are beyond the limit."""

    status = 431


class VersionNotSupported(WrapperError):
    """A version of HTTP other than 1."""

    status = 505
