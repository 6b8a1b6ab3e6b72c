#!/bin/sh
# Run the stock tests in the stock KServe image's environment: Python 3.9, TorchServe 0.9.0, torch 2.1.0.
set -eu
cd "$(dirname "$0")/.."
for candidate in python3.9 "$HOME"/.pyenv/versions/3.9*/bin/python /usr/local/bin/python3.9; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 9))' 2>/dev/null; then
        "$candidate" -m scripts.bootstrap --stock --venv .venv-stock
        exec .venv-stock/bin/python -m pytest tests/stock tests/serving/test_handler_batches.py "$@"
    fi
done
echo "test-stock: SKIPPED: no Python 3.9 on the PATH or in pyenv (the stock KServe image runs on 3.9)"
