#!/bin/sh
# Fails the build when the last stage is not what it promises: the wrapper imports and starts, no compiler is there.
#   PREFIX   the virtual environment (default /opt/venv)
#   LIGHT=1  TorchServe, Java and torch are not looked for
set -eu
PREFIX="${PREFIX:-/opt/venv}"
for tool in gcc g++ cc c++ clang make ld; do
    if command -v "$tool" >/dev/null 2>&1; then
        echo "a compiler's tool is in the image: $tool" >&2
        exit 1
    fi
done
if "$PREFIX/bin/python" -c 'import pip' 2>/dev/null; then
    echo "pip is in the image" >&2
    exit 1
fi
"$PREFIX/bin/python" -m kserve_wrapper --help >/dev/null
if [ "${LIGHT:-0}" = 1 ]; then
    echo "LIGHT=1: TorchServe, Java and torch are not looked for"
    exit 0
fi
"$PREFIX/bin/python" -c 'import captum, torch, torchvision, ts'
"$PREFIX/bin/java" -version
