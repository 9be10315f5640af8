-- Payloads are what to_jsonb() gives under pinned settings, for every type,
-- whatever the writer's session has set.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS todo_events CASCADE;
CREATE EXTENSION todo_events;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET lc_monetary = 'C';

CREATE SCHEMA capture_types;
SET search_path = capture_types, public;
CREATE TYPE mood AS ENUM ('sad', 'o"k', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN moods AS mood[];
CREATE TYPE pair AS (a int, b timestamptz, "odd ""name" text, c mood[]);
CREATE DOMAIN pair_domain AS pair;

-- a column of every type of pg_catalog that a table can have
SELECT string_agg(format('%I pg_catalog.%I', 'c_' || t.typname, t.typname), ', ' ORDER BY t.typname) AS columns,
	count(*) > 110 AS enough
FROM pg_type t
WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
	AND t.typname !~ '^_?(pg_(ddl_command|node_tree|ndistinct|dependencies|mcv_list|brin_.*)|unknown|gtsvector|aclitem|cstring|record)$'
	AND NOT EXISTS (SELECT FROM pg_class c WHERE c.reltype = t.typelem AND c.reltype <> 0) \gset
SELECT :'enough' AS enough;
CREATE TABLE every (id int PRIMARY KEY, :columns, mood mood, positive positive, moods moods, pair pair,
	pair_domain pair_domain, pairs pair[], positives positive[], two int[][], "Odd "" é \ name" text, gone text,
	doubled int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE every DROP COLUMN gone;
SELECT todo_events.attach('every') AS number;

INSERT INTO every (id) VALUES (1);
INSERT INTO every (id, c_bool, c_int2, c_int4, c_int8, c_float4, c_float8, c_numeric, c_text, c_varchar, c_bpchar, c_name,
	c_uuid, c_bytea, c_date, c_time, c_timetz, c_timestamp, c_timestamptz, c_interval, c_json, c_jsonb, c_money, c_inet,
	c_cidr, c_bit, c_varbit, c_point, c_box, c_tsvector, c_tsrange, c_tstzrange, c_datemultirange, c_regclass, c_regtype, c_oid,
	c_xml, c_char, mood, positive, moods, pair, pair_domain, pairs, positives, two, "Odd "" é \ name")
VALUES (2, true, -32768, -2147483648, -9223372036854775808, 0.1, 1e-300, 12345678901234567890.12345, E'a "q" \\ \t\n\x01 é', 'v', 'b',
	'n', '00000000-0000-4000-8000-0000000000ff', '\x00ff41', '2026-02-03', '12:34:56.789', '12:34:56+09', '2026-02-03 04:05:06.7',
	'2026-02-03 04:05:06.7+09', '1 year 2 mons -3 days 04:05:06.789', '{"a":  [1, 2]}', '{"b": null, "a": 1e3}', '1234.56', '10.0.0.1/8', '10.0.0.0/8',
	'1', '101', '(0.1,2)', '(1,1),(0,0)', 'a:1 b:2', '[2026-01-01 10:00,2026-01-02)', '[2026-01-01 10:00+09,)', '{[2026-01-01,2026-02-01)}',
	'every', 'mood', 4294967295, '<a b="1"/>', 'x', 'o"k', 7, '{sad,NULL,"o\"k"}', (1, '2026-01-01 00:00+03', 'x"y', '{sad}'),
	(NULL, NULL, NULL, NULL), ARRAY[(1, NULL, 'a', NULL)::pair, NULL], '{1,2}', '{{1,2},{3,NULL}}', 'odd');
INSERT INTO every (id, c_float4, c_float8, c_numeric, c_date, c_timestamp, c_timestamptz, c_text, c_bytea, two, c__text)
VALUES (3, 'NaN', '-Infinity', 'NaN', 'infinity', '-infinity', 'infinity', repeat('long é "text" ', 20000), decode(repeat('00ff', 5000), 'hex'),
	'[5:6]={1,2}', '{}'),
	(4, '-0', '1e21', '-Infinity', '4714-11-24 BC', '294276-12-31 23:59:59.999999', '0044-03-15 12:00+00 BC', '', '', '{}', '{a,"b c",NULL,"NULL"}');

CREATE FUNCTION different(seen jsonb, OUT id int, OUT col text, OUT event jsonb, OUT row_ jsonb) RETURNS SETOF record
LANGUAGE sql AS $$
	SELECT e.id, x.key, seen.value -> x.key, x.value
	FROM capture_types.every e, jsonb_each(to_jsonb(e)) x, jsonb_each(seen) seen
	WHERE seen.key::int = e.id AND seen.value -> x.key IS DISTINCT FROM x.value
	UNION ALL
	SELECT s.key::int, x.key, x.value, NULL
	FROM jsonb_each(seen) s, jsonb_object_keys(s.value) AS k (key), jsonb_each(s.value) x
	WHERE x.key = k.key AND NOT EXISTS (SELECT FROM capture_types.every e WHERE e.id = s.key::int AND to_jsonb(e) ? k.key)
$$;
CREATE VIEW seen AS SELECT jsonb_object_agg(o.key, o.event::jsonb #> '{data,payload,after}' ORDER BY o.id) AS rows
	FROM todo_events.outbox o;
SET search_path = pg_catalog;
SELECT d.* FROM capture_types.seen s, capture_types.different(s.rows) d;
SELECT count(*) FROM capture_types.seen s, jsonb_object_keys(s.rows);

-- the same rows written by a session with other settings
SET timezone = 'Asia/Tokyo';
SET datestyle = 'German';
SET intervalstyle = 'iso_8601';
SET bytea_output = 'escape';
SET extra_float_digits = -5;
SET search_path = capture_types, public;
SET xmlbinary = hex;
DELETE FROM todo_events_internal.log;
UPDATE every SET c_int2 = -1;
SHOW timezone;
SHOW search_path;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET search_path = pg_catalog;
SELECT d.* FROM capture_types.seen s, capture_types.different(s.rows) d;
SELECT count(*) FROM capture_types.seen s, jsonb_object_keys(s.rows);

SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA capture_types CASCADE;
DROP EXTENSION todo_events CASCADE;
