#!/bin/sh
# A planned scan as a job array, on a file system that all nodes share: task k does the chunks k - 1, k + 15, ...
# A task that is requeued passes over what is done.
#
#   latentscan plan inputs/ --profile modelscan.h5 -o job/
#   JOB=$(sbatch --parsable scan-array.sh job/)
#   sbatch --dependency=afterok:$JOB --wrap "latentscan merge job/ --report out.html"
#SBATCH --job-name=latentscan
#SBATCH --array=1-16
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --requeue
set -eu
exec latentscan scan --plan "$1" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --threads "${SLURM_CPUS_PER_TASK:-1}"
