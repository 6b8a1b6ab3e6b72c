#!/bin/sh
# Takes out what a server never reads: pip, headers, static libraries, byte code (written anew for the image).
#   PREFIX             the virtual environment (default /opt/venv)
#   SOURCE_DATE_EPOCH  set, as by default, byte code is checked by its source's content and holds no time (default 0)
set -eu
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}"
PREFIX="${PREFIX:-/opt/venv}"
"$PREFIX/bin/python" -m pip uninstall --yes --quiet setuptools wheel 2>/dev/null || true
"$PREFIX/bin/python" -m pip uninstall --yes --quiet pip
find "$PREFIX" -name '*.a' -type f -delete
find "$PREFIX" -path '*/torch/include' -type d -prune -exec rm -rf {} +
find "$PREFIX" -path '*/torch/test' -type d -prune -exec rm -rf {} +
find "$PREFIX" -name __pycache__ -type d -prune -exec rm -rf {} +
"$PREFIX/bin/python" -m compileall -q -j 0 "$PREFIX/lib" >/dev/null || true
