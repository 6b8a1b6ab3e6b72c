#!/bin/sh
# PyTorch, first and alone, since it is the large layer that changes least.
#   PREFIX           the virtual environment (default /opt/venv)
#   CONSTRAINTS      the pins (default /src/constraints.txt)
#   TORCH_INDEX_URL  another index for torch and torchvision, say PyTorch's CPU builds (default: pip's own, CUDA builds)
#   VARIANT          cpu or cuda, what the image is called (default cuda); 70-verify.sh looks whether torch is that
#   LIGHT=1          leave it out, 5 GB: for the tests of these steps. Such an environment cannot serve a model.
set -eu
PREFIX="${PREFIX:-/opt/venv}"
CONSTRAINTS="${CONSTRAINTS:-/src/constraints.txt}"
VARIANT="${VARIANT:-cuda}"
case "$VARIANT" in
    cpu | cuda) ;;
    *)
        echo "VARIANT=$VARIANT: write cpu or cuda" >&2
        exit 2
        ;;
esac
if [ "$VARIANT" = cpu ] && [ -z "${TORCH_INDEX_URL:-}" ] && [ "$(uname -m)" = x86_64 ] && [ "${LIGHT:-0}" != 1 ]; then
    echo "VARIANT=cpu needs TORCH_INDEX_URL, the address of PyTorch's CPU builds: pip's usual torch carries CUDA" >&2
    exit 2
fi
if [ "${LIGHT:-0}" = 1 ]; then
    echo "LIGHT=1: torch and torchvision are left out"
    exit 0
fi
if [ -n "${TORCH_INDEX_URL:-}" ]; then
    set -- --index-url "$TORCH_INDEX_URL"
fi
"$PREFIX/bin/python" -m pip install --no-cache-dir -c "$CONSTRAINTS" "$@" torch torchvision
