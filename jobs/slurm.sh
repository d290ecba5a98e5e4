#!/usr/bin/env bash
#SBATCH --job-name=mmpr
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@300
#SBATCH --output=mmpr-%j.log
# A build, or a training run, on the nodes of one Slurm job:
#   sbatch --nodes=2 jobs/slurm.sh build jobs/build.yaml
#   sbatch --nodes=1 jobs/slurm.sh train jobs/train.yaml
# The settings of a build need `address: auto`, those of a training run `launch: {on: ray, address: auto}`. Five minutes
# before its time is over the run is asked to stop: a build closes its journals, a training run keeps its last finished
# step. Then the job is queued again, and goes on from there.
set -euo pipefail

case ${1:-} in
    build) run=(mmpr build "${2:?a settings file}") ;;
    train) run=(mmpr train "${2:?a settings file}" --resume) ;;
    *) echo "usage: sbatch $0 build|train SETTINGS.yaml" >&2; exit 2 ;;
esac
port=${RAY_PORT:-6379}
nodes=${SLURM_JOB_NUM_NODES:-${SLURM_NNODES:?this runs under Slurm}}
# No `| head -n 1`: it closes the pipe, and what writes into it then ends the whole job, now and then, with 141.
names=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${names%%$'\n'*}
# An address, not a name: nodes with several networks else find each other on the wrong one.
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')

# Whoever reaches the ports of a Ray cluster can run code in it: this one answers only to who has the job's own token.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
# When its nodes are stopped, the work is over: Ray would wait half a minute for more of it to drain.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0

started=()
stop() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait || true
}
trap stop EXIT

# From here on a signal that time is almost over ends in the queue again, whether the run has begun or not.
again=0
driver=
trap 'again=1; if [[ $driver ]]; then kill -TERM "$driver" 2>/dev/null || true; fi' TERM

# --overlap: these steps share the job's resources with each other. Some versions of Slurm (22.05 to 23.02) do not hand
# --cpus-per-task down to srun: a Ray node would be bound to one core and still offer all of them.
step=(--overlap)
offers=(--disable-usage-stats --block)
if [[ ${SLURM_CPUS_PER_TASK:-} ]]; then
    step+=(--cpus-per-task="$SLURM_CPUS_PER_TASK")
    offers+=(--num-cpus="$SLURM_CPUS_PER_TASK")
fi
if [[ ${SLURM_GPUS_ON_NODE:-} ]]; then offers+=(--num-gpus="$SLURM_GPUS_ON_NODE"); fi
srun "${step[@]}" --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="$address" --port="$port" "${offers[@]}" &
started+=($!)
if ((nodes > 1)); then
    sleep "${RAY_HEAD_SECONDS:-15}"
    srun "${step[@]}" --nodes=$((nodes - 1)) --ntasks=$((nodes - 1)) --exclude="$head" \
        ray start --address="$address:$port" "${offers[@]}" &
    started+=($!)
fi

export RAY_ADDRESS="$address:$port"
for _ in $(seq 60); do
    for pid in "${started[@]}"; do
        kill -0 "$pid" 2>/dev/null || { echo "a node of the Ray cluster did not start" >&2; exit 1; }
    done
    alive=$(ray status 2>/dev/null | grep -c ' node_' || true)
    ((alive >= nodes || again)) && break
    sleep 2
done
((alive >= 1 || again)) || { echo "the Ray cluster did not start" >&2; exit 1; }

status=0
if ((! again)); then
    "${run[@]}" &
    driver=$!
    ((again)) && kill -TERM "$driver" 2>/dev/null || true    # the signal came in between
    wait "$driver" || status=$?
fi
if ((again)); then
    if [[ $driver ]]; then wait "$driver" || true; fi    # the first wait ended by the signal; this is for its own end
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$status"
