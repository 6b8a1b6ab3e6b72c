"""`make serve`: TorchServe and the wrapper in the foreground on the document's ports, until Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys

from scripts.serving import CONFIG, ROOT, build_archive, supervisor_command


def main() -> None:
    """Entry point; becomes the supervisor, so that signals and the exit status are its own."""
    store = ROOT / "build" / "model-store"
    try:
        build_archive(store)
    except subprocess.CalledProcessError as error:
        sys.exit(f"serve: the archive could not be built (status {error.returncode}; see above)")
    command = supervisor_command(store, {}, ["--http_port", "8080", "--grpc_port", "8081"], CONFIG)
    os.chdir(ROOT)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
