#!/bin/bash
#
# demo.sh - a todo application on todo_events, with its events arriving at kcat
#
# usage: scripts/demo.sh start [option ...]     (make demo DEMO_ARGS="...")
#        scripts/demo.sh stop                   (make demo-stop)
#
#	--users N          users at work at the same time (50)
#	--transactions N   their transactions in all (6000)
#	--rate N           transactions a second (500); 0 for as fast as it goes
#	--keep-nothing     stop when done, instead of leaving it running
#
# It installs what is needed to build, builds and installs the extension, and
# starts a private PostgreSQL on a free loopback port, in build/demo or, where
# PostgreSQL's user may not go there, in a directory of its own in /var/tmp. The
# broker is the one in memory that todo_events brings (brokers = 'embedded'); any
# Kafka client can talk to it, here it is kcat.
#
# Then pgbench drives the application: the transactions of demo/app, of many
# users at once, a tenth of them rolled back. demo/summary.sql compares the
# journal that the application keeps of its committed changes with the CloudEvents
# that kcat has received. Exit code 0 if they agree.
#
# A second start stops and replaces what the first has left running.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

home=$top/build/demo
state=$home/state

# ---- ending ------------------------------------------------------------------

# Ends what a start has begun, whether it is this one or an earlier one, and
# removes its directory. Says nothing if there is nothing.
stop_all()
{
	local run_id='' dir=''

	[ -f "$state" ] || return 1
	# shellcheck disable=SC1090
	. "$state"
	if [ -f "$dir/data/postmaster.pid" ]; then
		choose_user
		choose_postgres
		as_user pg_ctl -D "$dir/data" -m fast -w -t 20 stop >/dev/null 2>&1 || true
	fi
	[ -z "$run_id" ] || end_processes_of "$run_id"
	# only what a start has made and marked
	if [ -n "$dir" ] && [ -f "$dir/todo_events-demo" ]; then
		rm -rf "$dir"
	fi
	rm -f "$state"
	return 0
}

cmd_stop()
{
	if stop_all; then
		say "the demo is stopped, its database is removed"
	else
		say "no demo runs"
	fi
}

finished=false
clean_up()
{
	local status=$?

	trap - EXIT
	trap '' INT TERM HUP
	if ! $finished; then
		# not when somebody has interrupted it
		if [ "$status" -lt 129 ] && [ -n "${dir:-}" ] && [ -f "$dir/server.log" ]; then
			say "the server's last lines:"
			tail -n 15 "$dir/server.log" | sed 's/^/    | /'
			cp "$dir/server.log" "$home/server.log" 2>/dev/null || true
		fi
		stop_all || true
	fi
	exit "$status"
}

# ---- starting ----------------------------------------------------------------

# step DESCRIPTION COMMAND ...: with its output in a log
step()
{
	local what=$1 log=$home/setup.log begin=$SECONDS

	shift
	printf '%s ... ' "$what"
	if ! "$@" >"$log" 2>&1; then
		say failed
		tail -n 30 "$log" | sed 's/^/    | /'
		exit 1
	fi
	say "done ($((SECONDS - begin)) s)"
}

build() { make -C "$top" -j2; }

# Sets dir: build/demo/run if the server's user can go there, which it cannot
# when the checkout is in another user's home.
make_directory()
{
	dir=$home/run
	mkdir -p "$dir"
	[ "$(id -u)" -ne 0 ] || chown "$run_user" "$dir"
	if ! as_user test -w "$dir" || [ ${#dir} -gt 80 ]; then
		rmdir "$dir"
		dir=$(mktemp -d /var/tmp/todo_events-demo.XXXXXX)
		[ "$(id -u)" -ne 0 ] || chown "$run_user" "$dir"
	fi
	as_user touch "$dir/todo_events-demo"
	run_id=demo-$$-$RANDOM$RANDOM
	printf "run_id='%s'\ndir='%s'\n" "$run_id" "$dir" >"$state"
}

start_server()
{
	password=$(head -c 9 /dev/urandom | od -An -tx1 | tr -d ' \n')
	pick_port
	# shellcheck disable=SC2016
	as_user bash -c 'umask 077; echo "$1" >"$2/password"' sh "$password" "$dir" &&
		as_user initdb -D "$dir/data" -U postgres --auth=scram-sha-256 --pwfile="$dir/password" \
			--encoding=UTF8 --locale=C.UTF-8 &&
		as_user tee -a "$dir/data/postgresql.conf" >/dev/null <<END &&
listen_addresses = '127.0.0.1'
port = $free_port
unix_socket_directories = ''
max_connections = 120
shared_preload_libraries = 'todo_events'
END
		as_user env "TE_RUN_ID=$run_id" pg_ctl -D "$dir/data" -l "$dir/server.log" -w start
}

# As an ordinary user who owns his database: the extension is trusted.
create_application()
{
	export PGHOST=127.0.0.1 PGPORT=$free_port PGPASSWORD=$password PGOPTIONS='-c client_min_messages=warning'
	psql -qX -v ON_ERROR_STOP=1 -U postgres -d postgres \
		-c "CREATE ROLE todo LOGIN PASSWORD '$password'" -c 'CREATE DATABASE todo OWNER todo' &&
		export PGUSER=todo PGDATABASE=todo &&
		psql -qX -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION todo_events' \
			-c "SELECT todo_events.configure('brokers', 'embedded')" -f "$top/demo/app/schema.sql"
}

# Sets broker, as soon as the demo broker says where it is.
find_broker()
{
	broker=$(grep -o 'demo broker listens on [0-9.]*:[0-9]*' "$dir/server.log" | tail -n 1 | sed 's/.* //')
	[ -n "$broker" ]
}

topics_exist()
{
	[ "$(psql -qXAt -c "SELECT bool_and(state IN ('ok', 'created')) FROM todo_events.topics
		WHERE topic IN ('task-events', 'task-updates')")" = t ]
}

# A real Kafka client, from here on to the end.
start_consumers()
{
	local topic

	for topic in task-events task-updates; do
		TE_RUN_ID=$run_id kcat -q -u -C -b "$broker" -t "$topic" -o beginning \
			-f '%t\t%p\t%o\t%k\t%s\n' >"$home/$topic" 2>"$home/$topic.log" </dev/null &
	done
}

received() { cat "$home/task-events" "$home/task-updates" | wc -l; }

# Messages that the topics hold, from their offsets.
sent()
{
	local topic partition arguments=()

	for topic in task-events task-updates; do
		for partition in 0 1 2; do
			arguments+=(-t "$topic:$partition:-1")
		done
	done
	kcat -Q -b "$broker" "${arguments[@]}" 2>/dev/null |
		awk '{ n += $NF } END { print n + 0 }'
}

all_received()
{
	local all

	all=$(sent)
	[ "$all" -gt 0 ] && [ "$(received)" -ge "$all" ]
}

committed() { psql -qXAt -c 'SELECT count(*) FROM app.activity'; }

# Shows the first event of some types, the very first one whole.
show_new_types()
{
	local type line

	for type in created updated completed deleted; do
		case $shown in *" $type "*) continue ;; esac
		line=$(grep -m 1 "\"com.todo.task.$type\"" "$home/task-events" | cut -f 5) || true
		if [ -n "$line" ]; then
			[ "$shown" = ' ' ] || line="${line:0:200} ..."
			printf '    kcat: %s\n' "$line"
			shown+="$type "
		fi
	done
}

drive()
{
	local scripts=() weight pid begin=$SECONDS

	for weight in create=30 plan=8 edit=22 complete=15 reopen=3 delete=7 hand_over=4 import=1 cancel=10; do
		scripts+=(-f "$top/demo/app/${weight%=*}.sql@${weight#*=}")
	done
	[ "$rate" -eq 0 ] || scripts+=(-R "$rate")
	TE_RUN_ID=$run_id pgbench -n -c "$users" -j 2 -t $((transactions / users)) -D "users=$users" \
		"${scripts[@]}" >"$home/pgbench.log" 2>&1 </dev/null &
	pid=$!
	shown=' '
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		printf '%3d s: %6d changes committed, %6d messages received\n' \
			$((SECONDS - begin)) "$(committed)" "$(received)"
		show_new_types
	done
	if ! wait "$pid"; then
		tail -n 20 "$home/pgbench.log" | sed 's/^/    | /'
		die "the application has failed"
	fi
	awk '/actually processed/ { sub("/.*", "", $NF); all = $NF }
		/cancel.sql/ { cancel = 1 }
		cancel && /transactions \(/ { print all " transactions, " $2 " of them rolled back"; exit }' \
		"$home/pgbench.log"
}

# Last of all a bulk import with COPY, in one transaction.
import()
{
	awk 'BEGIN { OFS = "\t"; for (i = 1; i <= 2000; i++) {
		id = sprintf("00000000-0000-4000-8000-%012d", i)
		print id, "99999999-0000-4000-8000-000000000000", "bulk import " i } }' >"$home/import"
	psql -qX -v ON_ERROR_STOP=1 -1 -c "\\copy tasks (id, user_id, title) FROM '$home/import'" \
		-c "INSERT INTO app.activity (task_id, what) SELECT id, 'created' FROM tasks WHERE title LIKE 'bulk import %'"
}

summarize()
{
	cat "$home/task-events" "$home/task-updates" | psql -qX -v ON_ERROR_STOP=1 -f "$top/demo/summary.sql"
}

cmd_start()
{
	local users=50 transactions=6000 rate=500 keep=true

	while [ $# -gt 0 ]; do
		case $1 in
			--users) users=${2:?} && shift 2 ;;
			--transactions) transactions=${2:?} && shift 2 ;;
			--rate) rate=${2:?} && shift 2 ;;
			--keep-nothing) keep=false && shift ;;
			*) die "unknown option $1" ;;
		esac
	done
	mkdir -p "$home"
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP

	stop_all && say "stopped the demo that was running"
	"$top/scripts/deps.sh" demo
	choose_user
	choose_postgres
	step 'building' build
	step 'installing the extension' install_extension "$top"
	make_directory
	step 'starting a private PostgreSQL' start_server
	step 'creating the extension and the application' create_application
	wait_until 20 'the demo broker listens' find_broker
	wait_until 20 'the topics exist' topics_exist
	start_consumers
	say
	say "$users users, $transactions transactions, a tenth of them rolled back; kcat listens at $broker"
	drive
	import
	say "$(committed) changes committed; waiting for the last events"
	[ "$(psql -qXAt -c "SELECT todo_events.wait_for_delivery('60 s')")" = t ] ||
		die "not everything was delivered: $(psql -qXAt -c 'SELECT level, component, message FROM todo_events.health()')"
	wait_until 30 'kcat has received everything that the topics hold' all_received
	if ! summarize; then
		say 'demo: FAILED'
		exit 1
	fi
	say 'demo: PASSED'
	finished=true
	if $keep; then
		how_to_go_on
	else
		stop_all
	fi
}

how_to_go_on()
{
	cat <<END

It runs on. In one terminal:

    kcat -q -C -b $broker -t task-events -o end

and in another:

    psql postgresql://todo:$password@127.0.0.1:$free_port/todo

    INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'try it');
    UPDATE tasks SET status = 'completed' WHERE title = 'try it';
    SELECT * FROM todo_events.health();
    SELECT id, type, key, sequence, event FROM todo_events.outbox ORDER BY id DESC LIMIT 5;

make demo-stop ends it.
END
}

case ${1:-} in
	start) shift && cmd_start "$@" ;;
	stop) cmd_stop ;;
	*) sed -n '/^# usage:/,/^$/p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//' >&2 && exit 2 ;;
esac
