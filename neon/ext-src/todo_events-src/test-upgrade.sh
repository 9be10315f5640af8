#!/bin/sh
# The library of this version under the SQL of the version that contrib_regression has.
set -ex
cd "$(dirname "$0")"
PGDATABASE=contrib_regression scripts/pgtap.sh --installed
