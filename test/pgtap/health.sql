-- What health() says of attached tables whose triggers do not work, and of this
-- database: that is for whoever runs this to read, and fails nothing.
CREATE TABLE watched (id integer PRIMARY KEY, owner text);
SELECT todo_events.attach('watched', user_key => 'owner', name => :'schema' || '-watched') AS number \gset

CREATE FUNCTION lines(what text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM todo_events.health() WHERE component = 'table:watched' AND level = 'error' AND message LIKE what
$$;
SELECT is(lines('%'), 0::bigint, 'health: nothing to say of a table that works');
ALTER TABLE watched DISABLE TRIGGER USER;
SELECT is(lines('%is disabled: changes make no events'), 1::bigint, 'a disabled trigger is named');
SELECT is(lines('%is disabled: TRUNCATE makes no events'), 1::bigint, 'so is the other');
ALTER TABLE watched ENABLE TRIGGER USER;
SELECT is(lines('%'), 0::bigint, 'health: enabled again, well again');
DROP TRIGGER "!todo_events_capture" ON watched;
SELECT is(lines('%is missing: changes make no events'), 1::bigint, 'health: a missing trigger is named');

SELECT isnt_empty($$ SELECT * FROM todo_events.health() WHERE component NOT LIKE 'table:watched' $$, 'health says how this database is');
SELECT is_empty($$ SELECT * FROM todo_events.health() WHERE level NOT IN ('ok', 'warning', 'error') OR message IS NULL
	OR level <> 'ok' AND hint IS NULL AND component = 'engine' $$, 'in levels that it documents');
SELECT diag(concat_ws(' ', 'health:', h.level, h.component || ':', h.message, '(' || h.hint || ')'))
FROM todo_events.health() h WHERE h.level <> 'ok' AND h.component <> 'table:watched';
