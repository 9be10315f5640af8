-- What health() says of attached tables whose triggers do not work.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT no_plan();

CREATE SCHEMA todo_events_pgtap;
SET LOCAL search_path = todo_events_pgtap, public;
CREATE TABLE watched (id integer PRIMARY KEY, owner text);
SELECT todo_events.attach('watched', user_key => 'owner', name => 'pgtap-watched');

CREATE FUNCTION pg_temp.lines(what text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM todo_events.health() WHERE component = 'table:watched' AND level = 'error' AND message LIKE what
$$;
SELECT is(pg_temp.lines('%'), 0::bigint, 'nothing to say of a table that works');
ALTER TABLE watched DISABLE TRIGGER USER;
SELECT is(pg_temp.lines('%is disabled: changes make no events'), 2::bigint, 'both disabled triggers are named');
ALTER TABLE watched ENABLE TRIGGER USER;
SELECT is(pg_temp.lines('%'), 0::bigint, 'enabled again: well again');
DROP TRIGGER "!todo_events_capture" ON watched;
SELECT is(pg_temp.lines('%is missing: changes make no events'), 1::bigint, 'a missing trigger is named');

SELECT * FROM finish();
ROLLBACK;
