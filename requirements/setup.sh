#!/bin/sh
# Make $VENV: the locked packages, this project (editable), and the import hook for torchvision. May be run again.
set -eu
PYTHON=${PYTHON:-python3} VENV=${VENV:-.venv} TORCH_INDEX=${TORCH_INDEX:-} LOCK=${LOCK:-requirements/cpu.lock}

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer is needed. Say which: make setup PYTHON=/path/to/python3.11"
locked_for() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }
if [ ! -x "$VENV/bin/python" ] && [ -z "$TORCH_INDEX" ] && ! locked_for "$PYTHON"; then
    locked_for python3.11 ||
        fail "torch is locked for Python 3.11. Say make setup PYTHON=/path/to/python3.11, or for another Python" \
            "make setup TORCH_INDEX=<index of PyTorch's CPU wheels>"
    PYTHON=python3.11
    echo "setup: taking python3.11, for which torch is locked"
fi
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV" ||
    fail "cannot make $VENV. On Debian and Ubuntu: apt-get install python3-venv"

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }
echo "setup: installing $(grep -c == "$LOCK") locked packages into $VENV (a few minutes the first time)"
if [ -n "$TORCH_INDEX" ]; then
    pip install -q --no-deps --index-url "$TORCH_INDEX" "$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' "$LOCK")"
fi
pip install -q --no-deps -r "$LOCK" ||  # torch that is installed before is kept, whatever its hash
    fail "a package could not be installed as it is locked. Where it is torch: make setup TORCH_INDEX=<index of PyTorch's CPU wheels>"
pip install -q --no-deps --no-build-isolation -e .

site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# A copy, so that starting Python imports nothing of the package: another checkout can then be tested in this environment.
cp mmpr_pipeline/models/torchvision_cpu.py "$site/_mmpr_torchvision.py"
echo 'import _mmpr_torchvision; _mmpr_torchvision.hook()' > "$site/zz_mmpr_torchvision.pth"

"$VENV/bin/python" -c 'import torch, torchvision.transforms' ||
    fail "torch does not import. It must be a CPU build: make clean setup TORCH_INDEX=<index of PyTorch's CPU wheels>"
echo "setup: done"
