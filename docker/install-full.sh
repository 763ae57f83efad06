#!/bin/sh
# Make the environment of the full image: install-full.sh VENV WHEELS
#
# The environment has no pip of its own.
set -eu
venv=$1 wheels=$2

python3 -m venv --without-pip "$venv"
python3 -m pip --quiet --disable-pip-version-check --python "$venv/bin/python" install --no-cache-dir \
    "$wheels"/latentscan-*.whl

"$venv/bin/modelscan" fit --help >/dev/null
