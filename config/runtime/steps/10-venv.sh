#!/bin/sh
# An empty virtual environment, the only thing that the image's last stage copies.
#   PREFIX  where it goes (default /opt/venv)
#   PYTHON  the interpreter (default python3)
set -eu
PREFIX="${PREFIX:-/opt/venv}"
"${PYTHON:-python3}" -m venv "$PREFIX"
"$PREFIX/bin/python" -m pip --version
