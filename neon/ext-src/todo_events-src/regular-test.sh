#!/bin/sh
# For a role that is no superuser: the regression tests that an owner may run, then
# check-installed. PGHOST, PGPORT and PGUSER name server and role.
set -ex
cd "$(dirname "$0")"
dropdb --if-exists contrib_regression
createdb contrib_regression
results=$(mktemp -d)
PG_REGRESS=$(dirname "$(pg_config --pgxs)")/../test/regress/pg_regress
# shellcheck disable=SC2046
"$PG_REGRESS" --use-existing --inputdir=. --outputdir="$results" --bindir="$(pg_config --bindir)" \
	--dbname=contrib_regression $(sed -n 's/^REGRESS_ANYWHERE = //p' Makefile)
psql -d contrib_regression -c 'CREATE EXTENSION todo_events'
PGDATABASE=contrib_regression scripts/pgtap.sh --installed
