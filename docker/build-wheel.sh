#!/bin/sh
# Build this project's wheel: build-wheel.sh SOURCE DESTINATION
set -eu
source=$1 destination=$2

python3 -m pip wheel --quiet --disable-pip-version-check --no-cache-dir --no-deps --wheel-dir "$destination" "$source"
