#!/bin/sh
# Print the first Python that this project runs on (scripts/bootstrap.py knows which), or say what was found instead.
# PYTHON names one; then no other is taken.
cd "${0%/*}/.." || exit 1
found=
for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13 python3.10 python3.14}; do
    if ! said=$("$candidate" -c 'import sys; print(sys.version_info >= (3, 7))' 2>&1); then
        # Not there, or a version manager's stand-in for one that is not: worth a word only where a person named it.
        if [ -n "${PYTHON:-}" ]; then
            found="$found
  $candidate does not run: $said"
        fi
    elif [ "$said" != True ]; then
        found="$found
  $candidate: it is older than Python 3.7"
    elif why=$("$candidate" -m scripts.bootstrap --fits 2>&1); then
        echo "$candidate"
        exit 0
    else
        found="$found
  $candidate: $why"
    fi
done
if [ -n "$found" ]; then
    echo "no Python here will do:$found" >&2
    echo "name another one: make PYTHON=/path/to/python3.13 …" >&2
else
    echo "no Python on the PATH: install one (Debian and Ubuntu: apt-get install python3 python3-venv)," \
        "or name it: make PYTHON=/path/to/python3.13 …" >&2
fi
exit 1
