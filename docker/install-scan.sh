#!/bin/sh
# Make the environment of the scan-only image: install-scan.sh VENV WHEELS REQUIREMENTS
#
# The wheel's own dependencies include a training framework of several gigabytes, which scanning does not need: so it
# is installed without them, after the few that scanning does need. The environment has no pip of its own.
set -eu
venv=$1 wheels=$2 requirements=$3

python3 -m venv --without-pip "$venv"
pip() {
    python3 -m pip --quiet --disable-pip-version-check --python "$venv/bin/python" "$@"
}
pip install --no-cache-dir --requirement "$requirements"
pip install --no-cache-dir --no-index --no-deps "$wheels"/latentscan-*.whl

for module in torch torchvision onnx scipy sklearn; do
    if "$venv/bin/python" -c "import $module" 2>/dev/null; then
        echo "install-scan.sh: $module does not belong in the scan-only environment" >&2
        exit 1
    fi
done
"$venv/bin/modelscan" scan --help >/dev/null
