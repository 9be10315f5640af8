#!/bin/bash
#
# pgtap.sh - the pgTAP suite, test/pgtap
#
# usage: scripts/pgtap.sh               on a server of its own, started for it
#        scripts/pgtap.sh --installed   on your database, named by PGDATABASE, PGHOST ...
#
# Every file is one transaction that is rolled back, so nothing stays, in your
# database neither. It needs pgTAP on the server, and a superuser or the owner
# of the extension.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
choose_postgres
cd "$top"

run_tests()
{
	PERL5LIB=$top/test/tap/lib prove --merge --timer --harness TodoEvents::Harness \
		--source pgTAP --ext .sql --pgtap-option suffix=.sql \
		--pgtap-option psql="$bindir/psql" --pgtap-option set=ON_ERROR_STOP=1 test/pgtap
}

if [ "${1:-}" = --installed ]; then
	[ -n "${PGDATABASE:-}" ] || die "which database? make check-installed PGDATABASE=name"
	run_tests
	exit
fi
[ $# -eq 0 ] || die "unknown argument $1"

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
psql -qX -c 'CREATE EXTENSION todo_events' -c 'CREATE EXTENSION pgtap'
run_tests
