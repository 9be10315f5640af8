#!/bin/bash
#
# install.sh - puts requirements.txt into build/deps/orm
#
# A plain directory for PYTHONPATH, not a virtual environment, since the tests run
# in a copy of the tree. pip uses whatever index it is configured with. Does
# nothing when that is done already.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../../.." && pwd)
target=$top/build/deps/orm

# the one that every user may run
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3)
stamp=$("$python" --version; cat "$here/requirements.txt")
if [ -f "$target/.complete" ] && [ "$(cat "$target/.complete")" = "$stamp" ]; then
	exit 0
fi
mkdir -p "$top/build/deps"
scratch=$(mktemp -d "$top/build/deps/orm.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q --disable-pip-version-check --target "$scratch/orm" -r "$here/requirements.txt"
printf '%s\n' "$stamp" >"$scratch/orm/.complete"
chmod -R a+rX "$scratch/orm"
rm -rf "$target"
mv "$scratch/orm" "$target"
