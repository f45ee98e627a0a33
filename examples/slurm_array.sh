#!/bin/bash
# Relaxation of the structures of a database by ten jobs:  sbatch slurm_array.sh molecules.db
# Job k takes rows k, k + 10, k + 20, …; sent again after a time limit, each goes on where it stopped.
#SBATCH --array=0-9 --cpus-per-task=4 --time=04:00:00
set -eu
export OMP_NUM_THREADS=1
molcalc relax "$1@$SLURM_ARRAY_TASK_ID::10" -o "minima-$SLURM_ARRAY_TASK_ID.db" \
    --workers "${SLURM_CPUS_PER_TASK:-1}" --restart
