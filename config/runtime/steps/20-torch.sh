#!/bin/sh
# PyTorch, first and alone, since it is the large layer that changes least.
#   PREFIX           the virtual environment (default /opt/venv)
#   CONSTRAINTS      the pins (default /src/constraints.txt)
#   TORCH_INDEX_URL  another index for torch and torchvision, say PyTorch's CPU builds (default: pip's own, CUDA builds)
#   LIGHT=1          leave it out, 5 GB: for the tests of these steps. Such an environment cannot serve a model.
set -eu
PREFIX="${PREFIX:-/opt/venv}"
CONSTRAINTS="${CONSTRAINTS:-/src/constraints.txt}"
if [ "${LIGHT:-0}" = 1 ]; then
    echo "LIGHT=1: torch and torchvision are left out"
    exit 0
fi
if [ -n "${TORCH_INDEX_URL:-}" ]; then
    set -- --index-url "$TORCH_INDEX_URL"
fi
"$PREFIX/bin/python" -m pip install --no-cache-dir -c "$CONSTRAINTS" "$@" torch torchvision
