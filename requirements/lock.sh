#!/bin/sh
# Resolve both locks again, with hashes of every file of each release: sh requirements/lock.sh   (needs uv and a network)
# To change a version in cpu.lock, edit its line first; gpu.lock takes the versions of what we use ourselves from it.
set -eu
cd "$(dirname "$0")/.."
PLAIN=$(mktemp -d)
trap 'rm -rf "$PLAIN"' EXIT
compile() {
    uv pip compile -q --generate-hashes --python-version 3.11.7 --python-platform x86_64-manylinux_2_28 \
        --no-annotate --no-header --no-emit-index-url --no-emit-find-links "$@"
}

grep -oE '^[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^ ;]+' requirements/cpu.lock > "$PLAIN/cpu.in"
compile --no-deps "$PLAIN/cpu.in" -o "$PLAIN/cpu.lock"
# The CPU build of torch for Python 3.11 on x86_64, from https://download.pytorch.org/whl/cpu, alone: of several hashes pip
# prefers those that an index names, PyPI's CUDA builds.
awk -v hash=6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b '
    /^torch==/ { print; print "    --hash=sha256:" hash; skip = 1; next }
    skip && /^    --hash/ { next }
    { skip = 0; print }' "$PLAIN/cpu.lock" > requirements/cpu.lock

printf 'vllm==0.32.0\ntorch==2.13.0\ntorchvision==0.28.0\n' > "$PLAIN/gpu.in"
USED='ray|pydantic|pyarrow|typer|rich|pillow|sympy|datasets|huggingface-hub|webdataset|boto3|fsspec|httpx|numpy'
USED="$USED|tokenizers|transformers|accelerate|peft|safetensors|starlette|uvicorn|jinja2"
grep -E "^($USED)==" requirements/cpu.lock | cut -d ' ' -f 1 > "$PLAIN/constraints.txt"
compile pyproject.toml "$PLAIN/gpu.in" -c "$PLAIN/constraints.txt" --extra gpu --extra train --extra eval --extra s3 \
    -o requirements/gpu.lock

"${PY:-.venv/bin/python}" requirements/image_lock.py > "$PLAIN/cpu-image.lock"
mv "$PLAIN/cpu-image.lock" requirements/cpu-image.lock
