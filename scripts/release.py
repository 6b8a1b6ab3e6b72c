"""Build the release's files and see that they are fit: sdist and wheel in dist/, described and complete.

    python -m scripts.release --project-url https://HOST/OWNER/PROJECT

What it checks: `twine check --strict`, that the wheel made from the sdist holds what a clone's packages hold, and that
no link of the description is relative. Uploading is the last step, by hand: `twine upload dist/*`.
"""

from __future__ import annotations

import argparse
import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import List, Optional, Sequence, Set

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
PACKAGES = ("kserve_wrapper", "mnist_handler")


class Unfit(Exception):
    """The files are not what a release should be; the message says why."""


def build(project_url: str, out: Path = DIST) -> Path:
    """An sdist, and a wheel made from it; the wheel's path."""
    shutil.rmtree(out, ignore_errors=True)
    environ = {**os.environ, "PROJECT_URL": project_url}
    _run([sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)], environ)
    (wheel,) = out.glob("*.whl")
    return wheel


def check(wheel: Path) -> None:
    """Raises Unfit."""
    missing = sources() - names(wheel)
    if missing:
        raise Unfit(f"{wheel.name} lacks {', '.join(sorted(missing))}: name them in setup.cfg's package_data")
    links = relative_links(description(wheel))
    if links:
        raise Unfit(f"the description's links lead nowhere on an index: {', '.join(links)}")


def sources() -> Set[str]:
    """What the packages hold in this clone."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*"))
    return {str(path.relative_to(ROOT)) for path in found if path.is_file() and "__pycache__" not in path.parts}


def names(wheel: Path) -> Set[str]:
    """The files in a wheel."""
    with zipfile.ZipFile(wheel) as packed:
        return set(packed.namelist())


def description(wheel: Path) -> str:
    """The long description, as an index shows it."""
    with zipfile.ZipFile(wheel) as packed:
        (metadata,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        message = email.message_from_bytes(packed.read(metadata))
    payload = message.get_payload(decode=True)
    return payload.decode("utf-8") if isinstance(payload, bytes) else str(message.get_payload())


def relative_links(text: str) -> List[str]:
    """Targets that need the repository around the page."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:|#", target)]


def _run(command: Sequence[str], environ: Optional[dict[str, str]] = None) -> None:
    if subprocess.run(list(command), cwd=ROOT, env=environ).returncode:
        raise Unfit(f"{' '.join(command)} failed; its own words are above")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--project-url", default="", metavar="URL", help="where README's links shall lead")
    options = parser.parse_args(arguments)
    try:
        wheel = build(options.project_url)
        check(wheel)
        _run([sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(DIST.iterdir()))])
    except Unfit as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print(f"{', '.join(path.name for path in sorted(DIST.iterdir()))}: fit. Next: twine upload dist/*")
    return 0


if __name__ == "__main__":
    sys.exit(main())
