"""What the code never does, and how it keeps what is secret."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
import zipfile
from pathlib import Path
from typing import Iterator

import pytest

from kserve_wrapper.httpd.server import http_server
from kserve_wrapper.settings import Settings
from kserve_wrapper.torchserve.archive import ArchiveError, unpack
from kserve_wrapper.torchserve.tokens import parse

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("kserve_wrapper", "mnist_handler", "scripts", "model-archiver")
UNPACKERS = {"extractall", "extract", "unpack_archive", "_unpack_zipfile"}
#: What loads an archive once, in a process of its own, for who builds or checks it.
TRIALS = {"kserve_wrapper/archiver/ahead.py", "kserve_wrapper/modelstore/trial.py"}
EVALUATORS = {"eval", "exec", "compile", "__import__"}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call in the project's code: file, the function's name (dotted where it is), the call."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield str(path.relative_to(ROOT)), ast.unparse(node.func), node


def test_archives_are_unpacked_by_torchserve_alone() -> None:
    """To be served, that is: whoever builds or checks one has it loaded in a scratch folder, on their own machine."""
    found = list(calls())
    assert not [(path, name) for path, name, _ in found if name.rpartition(".")[2] in UNPACKERS]
    assert {
        path for path, name, _ in found if name in ("unpack", "archives.unpack") and path.startswith("kserve_")
    } == TRIALS


@pytest.mark.parametrize("name", ["../out.py", "/etc/out.py", "a/../../out.py", "a\\..\\out.py"])
def test_a_member_that_leads_elsewhere_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    mar = tmp_path / "x.mar"
    with zipfile.ZipFile(mar, "w") as packed:
        packed.writestr("good.py", "x = 1")
        packed.writestr(name, "x = 1")
    with pytest.raises(ArchiveError, match="leads out of the archive"):
        unpack(mar, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_unpacked_is_what_was_packed(tmp_path: Path) -> None:
    mar = tmp_path / "x.mar"
    files = {"handler.py": b"x = 1", "package/inner/data.bin": bytes(range(256)) * 5000}
    with zipfile.ZipFile(mar, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("package/", "")
        for member, content in files.items():
            packed.writestr(member, content)
    unpack(mar, tmp_path / "target")
    assert {name: (tmp_path / "target" / name).read_bytes() for name in files} == files
    assert sum(path.is_file() for path in (tmp_path / "target").rglob("*")) == len(files)


def test_nothing_from_outside_becomes_code() -> None:
    """No evaluation, no shell, no pickle; weights are loaded as weights alone."""
    found = list(calls())
    assert not [(path, name) for path, name, _ in found if name in EVALUATORS]
    assert not [(path, name) for path, name, _ in found if name.startswith(("pickle.", "marshal.", "os.system"))]
    for path, name, call in found:
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        if name == "torch.load":
            assert ast.unparse(keywords["weights_only"]) == "True", path
        assert "shell" not in keywords, path
        assert name not in ("yaml.load", "yaml.unsafe_load"), path


def test_a_key_does_not_show_itself() -> None:
    [key] = parse(b'{"inference": {"key": "secret-of-torchserve"}}').values()
    assert "secret" not in f"{key} {key!r}"
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse(b'{"inference": {"key": "secret\\nof"}}')
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    files = ["-keyout", str(key), "-out", str(chain)]
    subprocess.run([openssl, "req", "-x509", *made, *files], check=True, capture_output=True)
    return chain, key


def test_tls_is_1_2_or_later(certificate: tuple[Path, Path]) -> None:
    chain, key = certificate

    async def context() -> ssl.SSLContext:
        settings = Settings(ssl_certfile=str(chain), ssl_keyfile=str(key))
        made = http_server(None, settings).tls  # type: ignore[arg-type]
        assert made is not None
        return made

    made = asyncio.run(context())
    assert made.minimum_version >= ssl.TLSVersion.TLSv1_2
    weak = re.compile("NULL|EXPORT|RC4|DES|MD5|anon", re.IGNORECASE)
    assert not [cipher["name"] for cipher in made.get_ciphers() if weak.search(str(cipher["name"]))]


def test_dependencies_are_pinned() -> None:
    """Whatever an audit finds is found in what is installed."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {re.split(r"[=\[; ]", line)[0].lower().replace("_", "-") for line in pins.splitlines() if "==" in line}
    needed = {"grpcio", "httptools", "orjson", "uvloop", "torchserve", "torch", "captum", "pillow", "numpy"}
    assert needed <= pinned, needed - pinned


def test_dependencies_have_no_known_faults() -> None:
    # ``make audit`` wants an answer; elsewhere it is enough to say that there is none.
    give_up = pytest.fail if os.environ.get("AUDIT") == "required" else pytest.skip
    audit = shutil.which("pip-audit")
    if audit is None:
        give_up("pip-audit is not installed; it needs its data from the internet (make audit installs it)")
    assert audit is not None
    command = [audit, "-r", str(ROOT / "constraints.txt"), "--no-deps", "--disable-pip", "--format", "json"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if "ConnectionError" in ran.stderr:
        give_up("pip-audit does not reach its data")
    found = json.loads(ran.stdout)["dependencies"]
    # A package index without the data answers that it knows none of the packages, and pip-audit is content.
    known = [one for one in found if "skip_reason" not in one]
    if not known:
        give_up(f"pip-audit finds none of the {len(found)} packages in its data")
    assert {one["name"]: one["vulns"] for one in known if one["vulns"]} == {}
