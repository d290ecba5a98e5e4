#!/usr/bin/env bash
# Submit a build or a training run to a running Ray cluster, and follow it.
#   RAY_ADDRESS=http://head:8265 jobs/ray-job.sh build jobs/build.yaml
#   RAY_ADDRESS=http://head:8265 jobs/ray-job.sh train jobs/train.yaml
# The nodes need the package (docker/); the settings file goes along with the job. Submit again after any stop: it goes on.
set -euo pipefail

what=${1:?build or train} config=${2:?a settings file}
: "${RAY_ADDRESS:?address of the cluster, as http://head:8265}"
case $what in
    build) again=() ;;
    train) again=(--resume) ;;
    *) echo "ray-job.sh: build or train, not $what" >&2; exit 2 ;;
esac
[[ -f $config ]] || { echo "ray-job.sh: there is no $config" >&2; exit 2; }

# Ray copies a job's working directory to the cluster: one that holds the settings and nothing else.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$config" "$folder/settings.yaml"
ray job submit --address "$RAY_ADDRESS" --working-dir "$folder" -- mmpr "$what" settings.yaml "${again[@]}"
