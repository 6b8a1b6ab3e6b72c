#!/bin/sh
# Puts this project's wrapper in the place of the stock one, in an image like pytorch/torchserve-kfs:0.9.0. Nothing
# that the image has changes its version; the image's own entry point then starts this wrapper.
#   SOURCE  this project's source tree (default /src)
#   TARGET  the directory that holds the stock kserve_wrapper (default /home/model-server)
#   PYTHON  the image's Python (default python)
set -eu
SOURCE="${SOURCE:-/src}"
TARGET="${TARGET:-/home/model-server}"
PYTHON="${PYTHON:-python}"

# What is there stays as it is: these pins make pip fail sooner than change torch or protobuf.
held="$(mktemp)"
trap 'rm -f "$held"' EXIT
"$PYTHON" -m pip list --format=freeze | grep -v '^ts-kserve-wrapper=' > "$held"
"$PYTHON" -m pip install --no-cache-dir --disable-pip-version-check -c "$held" "$SOURCE[wrapper]"

if [ -d "$TARGET/kserve_wrapper" ] && [ ! -f "$TARGET/kserve_wrapper/_version.py" ]; then
    rm -rf "$TARGET/kserve_wrapper.stock"
    mv "$TARGET/kserve_wrapper" "$TARGET/kserve_wrapper.stock"
    echo "the stock wrapper is kept in $TARGET/kserve_wrapper.stock"
fi
rm -rf "$TARGET/kserve_wrapper"
cp -R "$SOURCE/kserve_wrapper" "$TARGET/kserve_wrapper"
"$PYTHON" "$TARGET/kserve_wrapper/__main__.py" --version
