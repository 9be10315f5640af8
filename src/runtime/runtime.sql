-- Schemas, settings, and what can be seen of the workers.

CREATE SCHEMA todo_events;
COMMENT ON SCHEMA todo_events IS 'todo_events: everything that applications and administrators use';
REVOKE ALL ON SCHEMA todo_events FROM PUBLIC;
-- so that the owner of an attached table can restore its triggers; every object in it is granted by itself
GRANT USAGE ON SCHEMA todo_events TO PUBLIC;

CREATE SCHEMA todo_events_internal;
COMMENT ON SCHEMA todo_events_internal IS 'todo_events: its own tables and functions, not for direct use';
REVOKE ALL ON SCHEMA todo_events_internal FROM PUBLIC;

CREATE FUNCTION todo_events_internal.require_version(version text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_require_version';
COMMENT ON FUNCTION todo_events_internal.require_version(text) IS
'an error if the library that is loaded is older than that version: the first call of every script of the extension';
-- before anything that only the library of this version knows
SELECT todo_events_internal.require_version('@TE_VERSION@');

-- ---- settings -------------------------------------------------------------

CREATE TABLE todo_events.setting_config (
	name text NOT NULL,
	value text NOT NULL,
	updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	database_id uuid,
	CONSTRAINT setting_config_pkey PRIMARY KEY (name)
) USING heap;
COMMENT ON TABLE todo_events.setting_config IS
'settings of this database that its owner has made with todo_events.configure(); a row wins over the server''s configuration';
COMMENT ON COLUMN todo_events.setting_config.name IS 'setting, without the prefix todo_events.';
COMMENT ON COLUMN todo_events.setting_config.value IS 'value, as in the configuration file';
COMMENT ON COLUMN todo_events.setting_config.updated_at IS 'when the row was written';
COMMENT ON COLUMN todo_events.setting_config.database_id IS 'database that has made the row, set by the system: one of another has no effect before todo_events.adopt()';
SELECT pg_catalog.pg_extension_config_dump('todo_events.setting_config', '');

CREATE FUNCTION todo_events_internal.setting_config_row() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_setting_config_row';
COMMENT ON FUNCTION todo_events_internal.setting_config_row() IS
'checks a row of todo_events.setting_config and has the engine read the settings again';
CREATE TRIGGER setting_config_row BEFORE INSERT OR UPDATE OR DELETE ON todo_events.setting_config
FOR EACH ROW EXECUTE FUNCTION todo_events_internal.setting_config_row();
COMMENT ON TRIGGER setting_config_row ON todo_events.setting_config IS
'checks the setting and has the engine read the settings again';

CREATE FUNCTION todo_events.configure(name text, value text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_configure';
COMMENT ON FUNCTION todo_events.configure(text, text) IS
'sets a setting of this database, or with a null value removes it, so that the server''s configuration holds again. Refused: settings of the server''s class, and values that the setting does not take';

-- ---- secrets --------------------------------------------------------------

CREATE TABLE todo_events_internal.secret (
	id bigint NOT NULL,
	name text NOT NULL,
	value text NOT NULL,
	at timestamptz NOT NULL
) USING heap;
COMMENT ON TABLE todo_events_internal.secret IS
'secrets given through todo_events.secret_input: the row with the highest id of a name counts, an empty value removes it; not dumped, not shown to logical decoding';
REVOKE ALL ON todo_events_internal.secret FROM PUBLIC;
-- with no policy: not even for who may read all data
ALTER TABLE todo_events_internal.secret ENABLE ROW LEVEL SECURITY;

CREATE TABLE todo_events.secret_input (line text) USING heap;
COMMENT ON TABLE todo_events.secret_input IS
'COPY todo_events.secret_input FROM STDIN takes lines name=value (sasl_password, key_password); the secrets are kept where nobody can read them, and this table stays empty';
COMMENT ON COLUMN todo_events.secret_input.line IS 'name=value';

CREATE FUNCTION todo_events_internal.secret_input_row() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_secret_input_row';
COMMENT ON FUNCTION todo_events_internal.secret_input_row() IS
'takes a line of todo_events.secret_input and keeps the secret';
CREATE TRIGGER secret_input_row BEFORE INSERT ON todo_events.secret_input
FOR EACH ROW EXECUTE FUNCTION todo_events_internal.secret_input_row();
COMMENT ON TRIGGER secret_input_row ON todo_events.secret_input IS 'keeps the secret and stores no row';

CREATE FUNCTION todo_events_internal.secret_input_statement() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_secret_input_statement';
COMMENT ON FUNCTION todo_events_internal.secret_input_statement() IS
'sees to it that no message quotes a line of todo_events.secret_input while it is read';
CREATE TRIGGER secret_input_statement BEFORE INSERT ON todo_events.secret_input
FOR EACH STATEMENT EXECUTE FUNCTION todo_events_internal.secret_input_statement();
COMMENT ON TRIGGER secret_input_statement ON todo_events.secret_input IS 'keeps the lines out of messages while they are read';

-- ---- what can be seen -----------------------------------------------------

CREATE FUNCTION todo_events_internal.settings_data(
	OUT name text, OUT value text, OUT is_row boolean, OUT class text, OUT kind text, OUT unit text,
	OUT restart boolean, OUT description text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'te_settings_data';
COMMENT ON FUNCTION todo_events_internal.settings_data() IS 'rows of the view todo_events.settings';

CREATE VIEW todo_events.settings AS
SELECT s.name, s.value,
	CASE
		WHEN s.is_row THEN CASE WHEN s.kind = 'secret' THEN 'secret_input' ELSE 'row' END
		WHEN s.kind = 'secret' THEN 'default'
		ELSE (SELECT p.source FROM pg_catalog.pg_settings p WHERE p.name = 'todo_events.' || s.name)
	END AS source,
	s.class, s.kind, s.unit, s.restart, s.description
FROM todo_events_internal.settings_data() s;
COMMENT ON VIEW todo_events.settings IS
'every setting: the value in force (secrets redacted), where it comes from (default, configuration file, database, row ...), its class (server: configuration only; database: configure() too; session: SET LOCAL), kind, unit, and whether a change needs a restart of the server';

CREATE FUNCTION todo_events_internal.workers_data(
	OUT database text, OUT role text, OUT pid integer, OUT io_pid integer, OUT state text,
	OUT since timestamptz, OUT restarts bigint, OUT errors bigint, OUT last_error text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'te_workers_data';
COMMENT ON FUNCTION todo_events_internal.workers_data() IS 'rows of the view todo_events.workers';

CREATE VIEW todo_events.workers AS
SELECT w.database, w.role, w.pid, w.io_pid, w.state, w.since, w.restarts, w.errors, w.last_error
FROM todo_events_internal.workers_data() w;
COMMENT ON VIEW todo_events.workers IS
'the engine of this database and its roles, with their I/O processes; members of pg_monitor see every database';

CREATE FUNCTION todo_events.health(OUT level text, OUT component text, OUT message text, OUT hint text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_health';
COMMENT ON FUNCTION todo_events.health() IS
'whether events are delivered, and if not, why: one line a component, level ok, warning or error, worst first';

CREATE FUNCTION todo_events.metrics(
	OUT name text, OUT labels jsonb, OUT value double precision, OUT kind text, OUT help text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_metrics';
COMMENT ON FUNCTION todo_events.metrics() IS
'counters and gauges of this database, named as Prometheus does; counters begin at the server''s start';

CREATE FUNCTION todo_events_internal.register() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_register';
COMMENT ON FUNCTION todo_events_internal.register() IS
'has the launcher start this database''s engine when the transaction has committed';
