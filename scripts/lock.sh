#!/bin/sh
# requirements.lock anew from pyproject.toml: every package of the environment but torch, for any platform.
#
# torch is left out because its builds differ (CPU, CUDA); it is pinned in pyproject.toml and installed beside the list,
# in the same pip command (scripts/env.sh). Local package folders of this machine must not decide what the lock says,
# so the settings that name them are not passed on.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3.11}" -m venv "$work/uv"
"$work/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv

mkdir "$work/project"
cp pyproject.toml "$work/project/"
: >"$work/project/README.md"
cd "$work/project"
uv() { env -u UV_FIND_LINKS -u PIP_FIND_LINKS UV_PYTHON_DOWNLOADS=never "$work/uv/bin/uv" --quiet --no-config "$@"; }
uv lock --python "$work/uv/bin/python"
uv export --frozen --no-hashes --no-emit-project --no-annotate --no-header --prune torch --output-file "$work/requirements.lock"
cp "$work/requirements.lock" "$root/requirements.lock"
echo "requirements.lock: $(wc -l <"$root/requirements.lock") packages"
