#!/bin/bash
#
# pgspot.sh - looks for what could be hijacked in the extension's script
#
# usage: scripts/pgspot.sh [--install]
#
# pgspot (https://github.com/timescale/pgspot) reads build/todo_events--*.sql as
# it is installed. Nothing is ignored. --install puts the pinned version into
# build/deps/pgspot, which a copied tree can use.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

deps=$top/build/deps
versions=(pgspot==0.9.4 pglast==7.21)

if [ "${1:-}" = --install ]; then
	if [ "$(cat "$deps/pgspot/.versions" 2>/dev/null)" = "${versions[*]}" ]; then
		exit 0
	fi
	mkdir -p "$deps"
	scratch=$(mktemp -d "$deps/pgspot.XXXXXX")
	trap 'rm -rf "$scratch"' EXIT
	python3 -m venv "$scratch/venv"
	"$scratch/venv/bin/pip" install -q --disable-pip-version-check --target "$scratch/lib" "${versions[@]}"
	echo "${versions[*]}" >"$scratch/lib/.versions"
	chmod -R a+rX "$scratch/lib"
	rm -rf "$deps/pgspot"
	mv "$scratch/lib" "$deps/pgspot"
	exit 0
fi
[ $# -eq 0 ] || die "unknown argument $1"
[ -d "$deps/pgspot" ] || die "no pgspot (scripts/deps.sh test installs it)"

# It does not read bodies of standard SQL, BEGIN ATOMIC and RETURN: they are shown
# to it as strings.
spot()
{
	perl -0pe 's/\bBEGIN ATOMIC\b(.*?)\nEND;/AS \$atomic\$$1\n\$atomic\$;/sg;
			s/^(LANGUAGE sql[^\n]*\n)RETURN (.*?);$/$1AS \$atomic\$SELECT $2\$atomic\$;/smg' |
		PYTHONPATH=$deps/pgspot python3 -m pgspot
}

failed=0 n=1
shopt -s nullglob
scripts=("$top"/build/todo_events--*.sql "$top"/src/upgrade/todo_events--*.sql)
say "1..$((${#scripts[@]} + 1))"

# it still sees what it should
if spot >/dev/null <<'END'
CREATE FUNCTION todo_events.f() RETURNS void LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
	SELECT now() = now();
END;
CREATE FUNCTION todo_events.g() RETURNS boolean
LANGUAGE sql STABLE
RETURN now() = now();
END
then
	say "not ok 1 - a function without a fixed search_path is found"
	failed=1
else
	say "ok 1 - a function without a fixed search_path is found"
fi

for script in "${scripts[@]}"; do
	n=$((n + 1))
	if found=$(spot <"$script" 2>&1); then
		say "ok $n - nothing is found in $(basename "$script") (G12)"
	else
		say "not ok $n - nothing is found in $(basename "$script") (G12)"
		printf '%s\n' "$found" | sed 's/^/# /'
		failed=1
	fi
done
exit $failed
