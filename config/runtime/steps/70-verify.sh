#!/bin/sh
# Fails the build when the last stage is not what it promises: the wrapper imports and starts, no compiler is there,
# the bill of materials names what is installed, and torch is the variant's.
#   PREFIX   the virtual environment (default /opt/venv)
#   VARIANT  cpu or cuda (default cuda)
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
"$PREFIX/bin/python" -c '
import importlib.metadata as m, json, sys
named = {(c["name"], c["version"]) for c in json.load(open(sys.argv[1]))["components"]}
missing = {(d.metadata["Name"], d.version) for d in m.distributions()} - named
sys.exit(f"the bill of materials lacks {sorted(missing)}" if missing else 0)
' "$PREFIX/sbom.cdx.json"
if [ "${LIGHT:-0}" = 1 ]; then
    echo "LIGHT=1: TorchServe, Java and torch are not looked for"
    exit 0
fi
"$PREFIX/bin/python" -c 'import captum, torch, torchvision, ts'
"$PREFIX/bin/python" -c '
import sys, torch
kind = "cuda" if torch.version.cuda else "cpu"
sys.exit(0 if kind == sys.argv[1] else f"the image is called {sys.argv[1]} and its torch is built for {kind}")
' "${VARIANT:-cuda}"
"$PREFIX/bin/java" -version
