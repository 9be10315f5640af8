-- The suite: one transaction, rolled back at its end, whatever database it runs
-- on.  scripts/pgtap.sh runs it; nothing in it needs a file of the server.
\set ON_ERROR_STOP on
\encoding UTF8
BEGIN ISOLATION LEVEL REPEATABLE READ, READ WRITE, NOT DEFERRABLE; -- whatever others write meanwhile
\ir begin.sql
\if :{?refused}
	\quit
\endif
\ir objects.sql
\ir rights.sql
\ir tables.sql
\ir capture.sql
\ir attach.sql
\ir publish.sql
\ir health.sql
\ir end.sql
ROLLBACK;
