-- attach and detach of an application's own tables, and what they refuse.
CREATE TABLE chores (
	number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	owner text, name text, done boolean NOT NULL DEFAULT false, secret text, deadline timestamptz);
INSERT INTO chores (owner, name) VALUES ('ada', 'was here before');
SELECT lives_ok(format($$ SELECT todo_events.attach('chores', user_key => 'owner', completed => 'done', title => 'name',
	due_at => 'deadline', exclude => '{secret}', name => %L, type_prefix => 'com.example.chore') $$, :'schema' || '-chores'), 'attach');
SELECT is((SELECT count(*) FROM todo_events.attachments WHERE relation = 'chores'::regclass), 1::bigint, 'is listed');
SELECT throws_ok($$ SELECT todo_events.attach('chores') $$, '42710', NULL, 'twice is refused');

INSERT INTO chores (owner, name, secret) VALUES ('ada', 'sweep', 'do not tell');
SELECT is(last_event()->>'type', 'com.example.chore.created', 'type_prefix');
SELECT is(last_event()#>>'{data,user_id}', 'ada', 'user_key');
SELECT unalike(last_event()::text, '%do not tell%', 'an excluded column is in no event (G9)');
SELECT count(*) AS events FROM made \gset
UPDATE chores SET secret = 'nor this' WHERE name = 'sweep';
SELECT is((SELECT count(*) FROM made), :events::bigint, 'nor is a change of it one');
UPDATE chores SET done = true WHERE name = 'sweep';
SELECT is(last_event()->>'type', 'com.example.chore.completed', 'completed by a boolean column');
SELECT is(last_event()#>>'{data,sequence}', '2', 'numbered without a column of its own (G3)');

-- DDL
ALTER TABLE chores RENAME COLUMN owner TO keeper;
ALTER TABLE chores ADD COLUMN color text DEFAULT 'red';
UPDATE chores SET name = 'mop' WHERE name = 'sweep';
SELECT is(last_event()#>>'{data,user_id}', 'ada', 'a renamed column keeps its meaning (G11)');
SELECT is(last_event()#>>'{data,payload,after,color}', 'red', 'a new one appears');
SELECT throws_ok('ALTER TABLE chores DROP COLUMN keeper', '2BP01', NULL, 'one that attach names is not dropped');

SELECT is(todo_events.detach('chores'), 1, 'detach');
SELECT count(*) AS events FROM made \gset
UPDATE chores SET name = 'unseen';
SELECT is((SELECT count(*) FROM made), :events::bigint, 'makes no more events');
SELECT throws_ok($$ SELECT todo_events.detach('chores') $$, 'TE404', NULL, 'detach of what is not attached');

-- what cannot be attached
CREATE VIEW a_view AS SELECT * FROM chores;
CREATE TABLE no_key (a int);
CREATE TABLE composite (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE deferrable_key (a int PRIMARY KEY DEFERRABLE);
CREATE UNLOGGED TABLE unlogged (a int PRIMARY KEY);
CREATE TEMP TABLE temporary (a int PRIMARY KEY);
SELECT throws_ok(format('SELECT todo_events.attach(%L)', name), 'TE422', NULL, name || ' is refused')
FROM unnest('{a_view,no_key,composite,deferrable_key,unlogged,temporary}'::text[]) AS name;
-- not a user's table, or not the owner's: that depends on who asks
SELECT throws_ok($$ SELECT todo_events.attach('todo_events.topic_config') $$, NULL, NULL, 'so is a table of the extension');
SELECT throws_ok($$ SELECT todo_events.attach('chores', user_key => 'nothing') $$, NULL, NULL, 'so is a column that is not there');
SELECT throws_ok($$ SELECT todo_events.attach('chores', backfill => 'all of it') $$, NULL, NULL, 'and a backfill that is none');

-- backfill
SELECT lives_ok(format($$ SELECT todo_events.attach('chores', title => 'name', name => %L, backfill => 'snapshot') $$, :'schema' || '-again'), 'backfill');
SELECT is((SELECT count(*) FROM made), :events + (SELECT count(*) FROM chores), 'snapshot is one created event a row');
