#!/bin/sh
# Print the first Python that this project runs on (3.10 to 3.12), or say what is missing.
for candidate in "${PYTHON:-python3}" python3.11 python3.12 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
        echo "$candidate"
        exit 0
    fi
done
echo "no Python 3.10, 3.11 or 3.12 on the PATH: install one (Debian: apt-get install python3 python3-venv)," \
    "or name it: make PYTHON=/path/to/python3.11 …" >&2
exit 1
