#!/bin/bash
#
# upgrade.sh - versions of the extension: their scripts, and tests across them
#
# usage: scripts/upgrade.sh check SCRIPT       are the released scripts untouched, and is there a
#                                              way from each to this version?  (SCRIPT: the one built)
#        scripts/upgrade.sh new FROM           begins the update script from FROM to this version
#        scripts/upgrade.sh freeze             keeps this version's scripts: it is released
#        scripts/upgrade.sh test [suite ...]   the suites on the objects of every earlier version
#                                              under this library, and on updated ones (make check-upgrade)
#
# and what tests need:
#
#        scripts/upgrade.sh next DIR           a tree of a next version in DIR, made from this one
#        scripts/upgrade.sh server DIR         a copy of the PostgreSQL of PG_CONFIG in DIR; prints its pg_config
#        scripts/upgrade.sh objects old|updated FROM
#                                              has CREATE EXTENSION, in the PostgreSQL of PG_CONFIG, leave
#                                              the objects of FROM, or make those and update them
#
# src/upgrade/README.md says which files there are.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

frozen=$top/src/upgrade
sums=$frozen/SHA256SUMS
version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$top/todo_events.control")

# ---- scripts -------------------------------------------------------------------------

is_released() { grep -q "  todo_events--$1\.sql\$" "$sums"; }

# released FILE: is it in the list?
listed() { grep -qF "  $(basename "$1")" "$sums"; }

check()
{
	local built=$1 file name from to reached=" $version " more=1

	(cd "$frozen" && { [ ! -s SHA256SUMS ] || sha256sum --check --quiet --strict SHA256SUMS; }) ||
		die "a script of a released version has changed; databases have it as it was. Undo that, and put the change into an update script"
	if is_released "$version"; then
		cmp -s "$1" "$frozen/todo_events--$version.sql" ||
			die "version $version is released, and the objects have changed since: raise default_version in todo_events.control, and write src/upgrade/todo_events--$version--….sql (scripts/upgrade.sh new $version)"
	fi
	for file in "$frozen"/todo_events--*.sql; do
		[ -e "$file" ] || continue
		name=$(basename "$file" .sql) name=${name#todo_events--}
		case $name in
			*--*)
				to=${name#*--}
				[ "$to" = "$version" ] || listed "$file" ||
					die "$(basename "$file") leads to $to, which is neither this version nor in SHA256SUMS"
				grep -qF "todo_events_internal.require_version('$to')" "$file" ||
					die "$(basename "$file") does not begin with require_version('$to'): an older library could run it"
				;;
			*) listed "$file" || die "$(basename "$file") is not in SHA256SUMS" ;;
		esac
	done
	# backwards from here, until nothing is added
	while [ -n "$more" ]; do
		more=''
		for file in "$frozen"/todo_events--*--*.sql; do
			[ -e "$file" ] || continue
			name=$(basename "$file" .sql) name=${name#todo_events--} from=${name%%--*} to=${name#*--}
			case $reached in *" $from "*) continue ;; esac
			case $reached in *" $to "*) reached+="$from " more=1 ;; esac
		done
	done
	for name in $(bases); do
		case $reached in *" $name "*) ;; *) die "no update scripts lead from version $name to $version" ;; esac
	done
}

# the released versions, oldest first
bases()
{
	sed -n 's/^.*  todo_events--\(.*\)\.sql$/\1/p' "$sums" | grep -v -e -- | sort -V || true
}

# The frame of an update script. What it calls first and last is what every one needs.
new_script()
{
	cat <<END
\\echo Use "ALTER EXTENSION todo_events UPDATE TO '$2'" to load this file. \\quit
-- from $1 to $2: what an install script does not have is made as that of $2 makes it
SET LOCAL search_path = pg_catalog, pg_temp;
SELECT todo_events_internal.require_version('$2');
SELECT todo_events_internal.note_objects();

$(cat)

SELECT todo_events_internal.give_rights();
SELECT todo_events_internal.register();
END
}

begin_script()
{
	local file=$frozen/todo_events--$1--$version.sql

	is_released "$1" || die "version $1 is not released"
	is_released "$version" && die "version $version is released: raise default_version in todo_events.control first"
	[ ! -e "$file" ] || die "$file is there already"
	echo '-- CREATE, ALTER, COMMENT ON ...' | new_script "$1" "$version" >"$file"
	say "$file"
}

freeze()
{
	local script=$top/build/todo_events--$version.sql file

	is_released "$version" && die "version $version is released already"
	make -C "$top" "build/todo_events--$version.sql" >/dev/null
	check "$script"
	cp "$script" "$frozen/"
	(
		cd "$frozen"
		for file in todo_events--"$version".sql todo_events--*--"$version".sql; do
			[ ! -e "$file" ] || sha256sum "$file"
		done >>SHA256SUMS
	)
	say "version $version is kept in src/upgrade; it does not change any more"
}

# ---- a next version ----------------------------------------------------------------------

# What it adds: a function in C, which the library of now does not have.
next_sql()
{
	cat <<'END'
CREATE FUNCTION todo_events.next_version() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'te_next_version';
COMMENT ON FUNCTION todo_events.next_version() IS 'what only the next version has';
END
}

next_tree()
{
	local dir=$1 next=${version%.*}.$((${version##*.} + 1))

	mkdir -p "$dir"
	# With what has been compiled, most of which is the same. By name: in the copy that
	# scripts/test.sh makes, there is much besides, DIR itself among it.
	(
		cd "$top"
		shopt -s nullglob
		tar -cf - Makefile *.md META.json LICENSE todo_events.* src scripts sql expected test bench model demo docs neon \
			build/io build/todo_events*
	) | tar -C "$dir" -xf - --no-same-owner
	ln -sfn "$top/build/deps" "$dir/build/deps"
	if ! is_released "$version"; then
		make -C "$top" "build/todo_events--$version.sql" >/dev/null
		cp "$top/build/todo_events--$version.sql" "$dir/src/upgrade/"
		(cd "$dir/src/upgrade" && sha256sum "todo_events--$version.sql" >>SHA256SUMS)
	fi
	next_sql | new_script "$version" "$next" >"$dir/src/upgrade/todo_events--$version--$next.sql"
	next_sql >>"$dir/src/publisher/publisher.sql"
	cat >>"$dir/src/runtime/version.c" <<'END'

PG_FUNCTION_INFO_V1(te_next_version);
Datum
te_next_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(te_version));
}
END
	sed -i "s/^default_version = .*/default_version = '$next'/" "$dir/todo_events.control"
	say "$next"
}

# A PostgreSQL finds its files by where its program lies, so that a copy is another
# installation. Links where that changes nothing.
copy_server()
{
	local dir=$1 bin share lib file

	bin=$("$PG_CONFIG" --bindir) lib=$("$PG_CONFIG" --pkglibdir) share=$("$PG_CONFIG" --sharedir)
	mkdir -p "$dir$bin" "$dir$share/extension" "$dir$lib/bitcode"
	for file in "$("$PG_CONFIG" --includedir)" "$("$PG_CONFIG" --includedir-server)"; do
		mkdir -p "$(dirname "$dir$file")"
		[ -e "$dir$file" ] || ln -s "$file" "$dir$file"
	done
	cp -L "$bin"/* "$dir$bin/"
	# nothing of ours, and no directory that we install into
	for file in "$share"/* "$share"/extension/* "$lib"/* "$lib"/bitcode/*; do
		case $file in
			"$share/extension" | "$lib/bitcode" | */todo_events*) ;;
			*) [ ! -e "$file" ] || ln -sfn "$file" "$dir$file" ;;
		esac
	done
	say "$dir$bin/pg_config"
}

# Scripts that lead to the same: CREATE EXTENSION without the script of the default
# version installs the one from which updates lead there.
objects()
{
	local dir

	dir=$("$PG_CONFIG" --sharedir)/extension
	case $1 in
		old) sed -i "s/^default_version = .*/default_version = '$2'/" "$dir/todo_events.control" ;;
		updated)
			find "$dir" -name 'todo_events--*.sql' ! -name 'todo_events--*--*.sql' ! -name "todo_events--$2.sql" -delete
			;;
		*) die "old or updated?" ;;
	esac
}

# ---- the suites across versions ------------------------------------------------------------

test_versions()
{
	local dir tree=$top from how config passed=0 failed=0 skipped=0 p f s

	[ $# -gt 0 ] || set -- regress isolation pgtap tap
	"$top/scripts/deps.sh" servers
	choose_postgres
	dir=$(mktemp -d "${TMPDIR:-/tmp}/te-versions-XXXXXX")
	chmod 755 "$dir"
	# shellcheck disable=SC2064
	trap "rm -rf '$dir'" EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	if [ -z "$(bases | grep -vxF "$version")" ]; then
		say "no earlier version is released: this one stands for it, and one made from it is the next"
		tree=$dir/next
		"$top/scripts/upgrade.sh" next "$tree" >/dev/null
	fi
	for from in $("$tree/scripts/upgrade.sh" bases); do
		for how in old updated; do
			say "" "objects of version $from, $how:"
			rm -rf "$dir/server"
			config=$("$top/scripts/upgrade.sh" server "$dir/server")
			p=0 f=1 s=0
			{ PG_CONFIG=$config TE_OBJECTS="$how $from" "$tree/scripts/test.sh" "$@" || true; } | tee "$dir/out"
			# nothing to read: it failed early
			read -r p f s < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$dir/out") || true
			passed=$((passed + p)) failed=$((failed + ${f:-1})) skipped=$((skipped + s))
			mkdir -p "$top/build/upgrade-logs/$from-$how"
			cp -r "$tree/build/test-logs/." "$top/build/upgrade-logs/$from-$how/"
		done
	done
	say "" "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
}

case ${1:-} in
	check) check "${2:?}" ;;
	new) begin_script "${2:?}" ;;
	freeze) freeze ;;
	next) next_tree "${2:?}" ;;
	server) choose_postgres; copy_server "${2:?}" ;;
	objects) choose_postgres; objects "${2:?}" "${3:?}" ;;
	bases) bases ;;
	test) shift; test_versions "$@" ;;
	*) sed -n '/^# usage:/,/^# src/p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//' >&2; exit 2 ;;
esac
