#!/bin/bash
#
# pgtap.sh - the pgTAP suite, test/pgtap
#
# usage: scripts/pgtap.sh               on a server of its own, started for it
#        scripts/pgtap.sh --installed   on your database, named by PGDATABASE, PGHOST ...
#        scripts/pgtap.sh --objects     prints test/pgtap/objects.list anew
#
# The suite is one transaction that is rolled back at its end: nothing stays in your
# database, and nothing is sent. It looks at the tables that are attached there and
# touches none of them. It needs psql here, pgTAP on the server, and a superuser or
# the owner of the extension. PGDATABASE may be a connection string.
#
# objects.list is what the suite expects the extension to consist of: kind, name,
# what it is, and the rights that the levels of grant_access() give. Whoever changes
# an object or a right writes it anew, and looks at the difference.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$top"
list=test/pgtap/objects.list
export PAGER=

run_psql() { psql -X -A -q -t -P null= -v ON_ERROR_STOP=1 ${PGDATABASE:+-d "$PGDATABASE"} "$@"; }

# Comments are shown: they tell what was found. --exec, and not a handler of pgTAP's,
# since this psql may have come with nothing else.
run_tests()
{
	PERL5LIB=$top/test/tap/lib prove --comments --timer --harness TodoEvents::Harness \
		--exec 'scripts/pgtap.sh --file' test/pgtap/run.sql
}

case ${1:-} in
	--file)
		run_psql -f "$2"
		exit
		;;
	--installed)
		[ -n "${PGDATABASE:-}" ] || die "which database? make check-installed PGDATABASE=name"
		# the server's own may not be in PATH
		if ! command -v psql >/dev/null; then
			PATH=$("${PG_CONFIG:-pg_config}" --bindir 2>/dev/null):$PATH
		fi
		for command in psql prove; do
			command -v $command >/dev/null || die "no $command (Debian: postgresql-client, perl)"
		done
		run_psql -o /dev/null -c 'SELECT 1' || die "cannot connect to the database"
		run_tests
		exit
		;;
	--objects | '') ;;
	*) die "unknown argument $1" ;;
esac
choose_postgres

dir=$(mktemp -d "${TMPDIR:-/tmp}/pgtap-XXXXXX")
stop()
{
	local status=$?

	trap - EXIT
	[ ! -f "$dir/data/postmaster.pid" ] || pg_ctl -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true
	[ "$status" -eq 0 ] || tail -n 20 "$dir/log" 2>/dev/null || true
	rm -rf "$dir"
	exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

pick_port
initdb -D "$dir/data" -A trust -U postgres -N -E UTF8 --locale=C.UTF-8 >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log"; exit 1; }
cat >>"$dir/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$dir'
port = $free_port
fsync = off
shared_preload_libraries = 'todo_events'
END
pg_ctl -D "$dir/data" -l "$dir/log" -w start >/dev/null
export PGHOST=$dir PGPORT=$free_port PGUSER=postgres PGDATABASE=todo
createdb todo
psql -qX -c 'CREATE EXTENSION todo_events'
if [ "${1:-}" = --objects ]; then
	run_psql -f test/pgtap/objects_list.sql
else
	run_tests
fi
