#!/bin/sh
# The environment `.venv`, from requirements.lock. Quick where it is fresh; safe to interrupt and to repeat.
# PYTHON=/path/to/python3.11 chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/made-from
made_from() { # what the environment is made from, as one number; $1: the interpreter
    "$1" - <<'PYTHON'
import hashlib, pathlib, sys
loops = [str(path) for path in pathlib.Path("hazy_pipeline/compiled").iterdir() if path.suffix in (".pyx", ".pxd")]
files = ["requirements.lock", "pyproject.toml", "scripts/env.sh", *sorted(loops)]
inputs = [pathlib.Path(name).read_bytes() for name in files]
inputs += [str(pathlib.Path.cwd()).encode(), sys.version.encode()]
print(hashlib.sha256(b"\0".join(inputs)).hexdigest())
PYTHON
}
if [ -x .venv/bin/hazy ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(made_from .venv/bin/python)" ]; then
    exit 0
fi

is_3_11() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; }

python=
if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.11 python3 python; fi
for candidate in "$@"; do
    if is_3_11 "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "error: Python 3.11 is needed, and none of these is one: $* (python3 is" \
         "$(python3 --version 2>/dev/null || echo 'not there'))." >&2
    echo "Install it (Debian 12: apt-get install python3.11 python3.11-venv; elsewhere: pyenv install 3.11)," \
         "or say where it is: make env PYTHON=/path/to/python3.11" >&2
    exit 1
fi

# torch stands apart: the lock is for any platform, and each platform has its own build of torch.
torch=$(sed -n 's/^ *"\(torch==[0-9.]*\)".*/\1/p' pyproject.toml)
echo "Making the environment .venv with $("$python" --version): about 260 packages, a few minutes."
if [ ! -x .venv/bin/python ] || ! is_3_11 .venv/bin/python; then
    rm -rf .venv
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "error: $python cannot make virtual environments; on Debian: apt-get install python3.11-venv" >&2
        exit 1
    fi
fi
rm -f "$stamp"
# One pip command, so that nothing else can pull in another torch first.
.venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --requirement requirements.lock "$torch"
.venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --editable .
if ! .venv/bin/python -c 'import sys; from hazy_pipeline import compiled; sys.exit(not compiled.is_in_use())'; then
    echo "note: there is no C compiler (on Debian: apt-get install gcc libc6-dev), so Bayesian networks will be fitted" \
         "several times as slowly; everything works. Install one and run: rm $stamp; make env" >&2
fi
made_from .venv/bin/python >"$stamp"
