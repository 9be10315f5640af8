-- Prints test/pgtap/objects.list, of a database that has the extension.
\encoding UTF8
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE SCHEMA listed;
SET LOCAL search_path = listed;
\set app listed_app
\set viewer listed_viewer
\set operator listed_operator
\set gateway listed_gateway
\ir objects_roles.sql
\ir objects_present.sql
COPY (SELECT e.extversion, p.kind, p.name, p.details, p.levels FROM present p, pg_extension e WHERE e.extname = 'todo_events'
	ORDER BY p.kind COLLATE "C", p.name COLLATE "C") TO STDOUT;
ROLLBACK;
