#!/bin/sh
# A planned scan by GNU parallel, on this machine or by '--sshloginfile' on others that share its folders. A job that
# fails is tried three times.
#
#   latentscan plan inputs/ --profile modelscan.h5 -o job/
#   ./scan-parallel.sh job/ 16
#   latentscan merge job/ --report out.html
set -eu
plan=$1 shards=$2
shift 2
seq "$shards" | parallel --retries 3 --halt soon,fail=1 "$@" latentscan scan --quiet --threads 1 --plan "$plan" --shard "{}/$shards"
