"""How TLS is spoken to an address of TorchServe."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from kserve_wrapper.upstream.address import parse, tls_context


def test_plain_http_has_no_tls() -> None:
    assert tls_context(parse("http://127.0.0.1:8085", "inference"), None) is None


def test_on_loopback_no_certificate_is_asked_for() -> None:
    context = tls_context(parse("https://127.0.0.1:8443", "inference"), None)
    assert context is not None
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_NONE)


def test_elsewhere_the_certificate_is_checked() -> None:
    context = tls_context(parse("https://10.0.0.7:8443", "inference"), None)
    assert context is not None
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.7"])
def test_a_configured_certificate_is_trusted_whatever_its_name(host: str, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "chain.pem")]
    made = ["-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=elsewhere"]
    subprocess.run([openssl, "req", "-x509", *made, *files], check=True, capture_output=True)
    context = tls_context(parse(f"https://{host}:8443", "inference"), tmp_path / "chain.pem")
    assert context is not None
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_REQUIRED)
    (trusted,) = [found for found in context.get_ca_certs() if (("commonName", "elsewhere"),) in found["subject"]]
    assert trusted


def test_an_absent_certificate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        tls_context(parse("https://127.0.0.1:8443", "inference"), tmp_path / "chain.pem")


def test_ipv6_is_refused_as_torchserve_would_with_what_to_write() -> None:
    with pytest.raises(ValueError, match=r"takes no IPv6 address; write http://0\.0\.0\.0:PORT"):
        parse("http://[::]:8085", "inference")
