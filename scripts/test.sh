#!/bin/bash
#
# test.sh - everything that `make test` runs
#
# usage: scripts/test.sh [--chaos-rounds N] [suite ...]
#
# All suites, in this order, if none is named:
#
#	unit        functions and todo_events_io alone: no PostgreSQL server
#	regress     pg_regress: sql/ against expected/
#	isolation   pg_isolation_regress: test/isolation
#	pgspot      the extension's script, for what could be hijacked in it
#	pgtap       test/pgtap on a preloaded server
#	tap         test/tap: real clusters, a real Kafka, faults
#	e2e         test/e2e: applications not written for this
#	model       model/run: the read rule, and that its broken variants fail
#	fuzz        the parser of frames, for some seconds
#	chaos       processes killed at each step, the short round
#
# And those that are not among all, since they run files of others anew:
#
#	neon        test/neon: a result for each thing that Neon-compatible PostgreSQL asks
#	pg_upgrade  test/tap/t/088_pg_upgrade.pl alone, through the PostgreSQL
#	            installations of TE_UPGRADE_PATHS (scripts/matrix.sh)
#
# It installs what is needed (scripts/deps.sh), builds a copy of the tree with
# warnings as errors, installs that, and runs the suites as an ordinary user; as
# root, as the user postgres, in a directory of its own under TMPDIR. Servers are
# private ones on free loopback ports. Whatever was started is ended.
#
# Results are counted by assertion where a suite speaks TAP (unit, pgspot, pgtap, tap,
# e2e), by test file for regress and isolation, and as one for all others. A
# suite that cannot run, leaves a process behind or takes too long has failed.
# Logs are in build/test-logs. Exit code 0 if nothing failed.
#
# Environment: PG_CONFIG, TE_CFLAGS (default: strict warnings), TE_TEST_KEEP=1
# keeps the copy, TE_RUN_USER; TE_SANITIZE=undefined builds with that sanitizer of
# the compiler (address needs a server that preloads it: scripts/matrix.sh), and
# TE_PATIENCE=10 has every limit of time ten times as long. A suite during which a
# sanitizer or valgrind writes a report (into TE_REPORTS) has failed.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

all=(unit regress isolation pgspot pgtap tap e2e model fuzz chaos)
others=(neon pg_upgrade)
strict='-Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers'
flags=${TE_CFLAGS-$strict}
[ -z "${TE_SANITIZE:-}" ] || flags+=" -g -fno-omit-frame-pointer -fsanitize=$TE_SANITIZE"
patience=${TE_PATIENCE:-1} slow=()
[ "$patience" -eq 1 ] ||
	slow=("PG_TEST_TIMEOUT_DEFAULT=$((60 * patience))" "PGCTLTIMEOUT=$((60 * patience))" "PGISOLATIONTIMEOUT=$((300 * patience))")
logs=$top/build/test-logs
run_id=$$-$RANDOM$RANDOM
# the same everywhere, whatever the machine speaks
unset LC_ALL LANGUAGE "${!LC_@}"
export LANG=C.UTF-8
passed=0 failed=0 skipped=0 rounds=20
summary=()

# ---- cleaning up -------------------------------------------------------------

work='' reports='' kafka_dir='' kafka_id=$run_id-kafka

clean_up()
{
	local status=$?

	trap - EXIT
	trap '' INT TERM HUP
	if [ -n "$kafka_dir" ] && [ -d "$kafka_dir" ]; then
		as_user "$work/scripts/kafka/kafka.sh" stop "$kafka_dir" >/dev/null 2>&1 || true
	fi
	end_processes_of "$run_id"
	end_processes_of "$kafka_id"
	if [ -n "$work" ]; then
		if [ -n "${TE_TEST_KEEP:-}" ]; then
			say "kept: $work"
		else
			rm -rf "$work"
		fi
	fi
	exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- counting ----------------------------------------------------------------

# note SUITE PASSED FAILED SKIPPED SECONDS
note()
{
	passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
	summary+=("$(printf '%-10s %8d %8d %8d %7ds' "$@")")
	printf '%-10s %s  %d passed, %d failed, %d skipped  (%d s)\n' "$1" \
		"$([ "$3" -eq 0 ] && echo ok || echo FAILED)" "$2" "$3" "$4" "$5"
}

# The counts of a suite, from what it has left: "passed failed skipped"
counts_of_tap()
{
	awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$work/counts"
}

counts_of_regress()
{
	# up to PostgreSQL 15 "test name ... ok", "name ... FAILED"; from 16 on TAP
	awk '/^ok [0-9]/ || / \.\.\. ok / { p++ }
		/^not ok [0-9]/ || / \.\.\. FAILED / || / \.\.\. failed / { f++ }
		END { print p + 0, f + 0, 0 }' "$1"
}

# run_suite NAME MINUTES KIND COMMAND ...: as the ordinary user, in the copy
run_suite()
{
	local name=$1 minutes=$(($2 * patience)) kind=$3 log=$logs/$1.log begin=$SECONDS status=0 p=0 f=0 s=0 left

	shift 3
	begun "$name"
	: >"$work/counts"
	chmod 666 "$work/counts"
	# in the background, so that a signal is heeded at once
	(cd "$work" && as_user env "TE_RUN_ID=$run_id" "TE_COUNTS=$work/counts" "HOME=$work/home" \
		"TMPDIR=$work/tmp" "PERL5LIB=$work/test/tap/lib:$perl_dir" "PG_REGRESS=$pg_regress" \
		"TE_REPORTS=$reports" "TE_CFLAGS=$flags" "${slow[@]}" \
		"ASAN_OPTIONS=detect_leaks=0:log_path=$reports/asan" \
		"UBSAN_OPTIONS=print_stacktrace=1:log_path=$reports/ubsan" timeout -k 20 "${minutes}m" "$@") >"$log" 2>&1 </dev/null &
	wait $! || status=$?

	left=$(processes_of "$run_id")
	if [ -n "$left" ]; then
		# an I/O process notices the end of its worker a moment later
		for _ in {1..50}; do
			sleep 0.1
			left=$(processes_of "$run_id")
			[ -n "$left" ] || break
		done
	fi
	case $kind in
		tap) read -r p f s < <(counts_of_tap) ;;
		regress) read -r p f s < <(counts_of_regress "$log") ;;
		whole) [ "$status" -ne 0 ] || p=1 ;;
	esac
	if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
		f=1
		[ "$status" -ne 124 ] || echo "test.sh: took longer than $minutes minutes" >>"$log"
		echo "test.sh: exit status $status" >>"$log"
	fi
	if [ $((p + f + s)) -eq 0 ]; then
		f=1
		echo "test.sh: nothing has run" >>"$log"
	fi
	if [ -n "$left" ]; then
		f=$((f + 1))
		{
			echo "test.sh: left running:"
			# shellcheck disable=SC2086
			ps -o pid,args -p "$(echo $left | tr ' ' ,)"
		} >>"$log" 2>&1 || true
		end_processes_of "$run_id"
	fi
	if [ -n "$(find "$reports" -type f -size +0 -print -quit)" ]; then
		f=$((f + 1))
		echo "test.sh: reports of sanitizers:" >>"$log"
		find "$reports" -type f -size +0 -exec head -n 40 {} + | head -n 400 >>"$log"
	fi
	find "$reports" -type f -delete
	note "$name" "$p" "$f" "$s" $((SECONDS - begin))
	if [ "$f" -gt 0 ]; then
		tail -n 40 "$log" | sed 's/^/    | /'
		say "    the whole log: $log"
		keep_artefacts "$name"
	fi
}

# What helps to understand a failure, and lies in the copy.
keep_artefacts()
{
	local file

	for file in "$work"/build/regress/regression.diffs "$work"/build/isolation/regression.diffs; do
		if [ -s "$file" ] && [ "$1" = "$(basename "$(dirname "$file")")" ]; then
			cp "$file" "$logs/$1.diffs"
			head -n 60 "$file" | sed 's/^/    | /'
		fi
	done
	if [ -d "$work/run/$1/tmp_check/log" ]; then
		mkdir -p "$logs/$1"
		cp -r "$work/run/$1/tmp_check/log/." "$logs/$1/"
		# PostgreSQL's test library writes what failed there, and not to prove
		for file in "$logs/$1"/regress_log_*; do
			if grep -q 'Failed test' "$file"; then
				say "    $file:"
				sed -n '/#   Failed test/,/^[^#]*ok /p' "$file" | cut -c 1-300 | head -n 30 |
					sed 's/^/    | /'
			fi
		done
	fi
}

# On a terminal, what is being done; the result is written over it.
begun() { [ ! -t 1 ] || printf '%-10s ...\r' "$1"; }

# A step that everything needs: if it fails, so does the run. Steps are joined
# by && inside, since set -e does not hold in a condition.
need()
{
	local name=$1 log=$logs/$1.log begin=$SECONDS

	shift
	begun "$name"
	if ! "$@" >"$log" 2>&1 </dev/null; then
		printf '%-10s FAILED  (%d s)\n' "$name" $((SECONDS - begin))
		tail -n 40 "$log" | sed 's/^/    | /'
		say "    the whole log: $log"
		say "0 passed, 1 failed, 0 skipped"
		exit 1
	fi
	printf '%-10s ok  (%d s)\n' "$name" $((SECONDS - begin))
}

# ---- the copy ------------------------------------------------------------------

copy_tree()
{
	copy_sources "$work" &&
		mkdir -p "$work/build/deps" "$work/home" "$work/tmp" "$work/run" &&
		mkdir -m 1777 "$reports" &&
		cp -a "$top/build/deps/." "$work/build/deps"
}

build()
{
	make -C "$work" -j2 "TE_CFLAGS=$flags" &&
		make -C "$work/bench/raw" -j2 "TE_CFLAGS=$flags"
}

install_it()
{
	install_extension "$work" "TE_CFLAGS=$flags" || return 1
	# shellcheck disable=SC2086
	[ -z "${TE_OBJECTS:-}" ] || "$work/scripts/upgrade.sh" objects $TE_OBJECTS
}

# A short name: the sockets below it have at most 107 bytes.
make_work()
{
	work=$(mktemp -d "${TMPDIR:-/tmp}/te-XXXXXX")
	chmod 755 "$work"
	reports=$work/reports
}

give_to_user()
{
	[ "$(id -u)" -ne 0 ] || chown -R "$run_user" "$work"
}

# ---- the suites ------------------------------------------------------------------

# prove with the counting harness
prove=(prove --merge --timer --ext .pl --ext .t --harness TodoEvents::Harness)

start_kafka()
{
	[ -z "$kafka_dir" ] || return 0
	kafka_dir=$work/kafka
	need kafka as_user env "TE_RUN_ID=$kafka_id" "$work/scripts/kafka/kafka.sh" start "$kafka_dir" \
		--sasl --tls --quick
	set -a
	# shellcheck disable=SC1091
	. "$kafka_dir/env"
	set +a
}

suite_unit()
{
	run_suite unit 10 tap make -k -C src/io check check-kafka "TE_CFLAGS=$flags" \
		"PROVE=${prove[*]}"
}

suite_regress()
{
	run_suite regress 5 regress make installcheck ISOLATION= TAP_TESTS= PGHOST= PGPORT=
}

suite_isolation()
{
	run_suite isolation 5 regress make installcheck REGRESS= TAP_TESTS= PGHOST= PGPORT=
}

suite_pgspot()
{
	run_suite pgspot 5 tap "${prove[@]}" --exec bash scripts/pgspot.sh
}

suite_pgtap()
{
	run_suite pgtap 5 tap scripts/pgtap.sh
}

suite_tap()
{
	start_kafka
	run_suite tap 40 tap env "TESTDIR=$work/run/tap" "${prove[@]}" test/tap/t
}

suite_pg_upgrade()
{
	start_kafka
	run_suite pg_upgrade 10 tap env "TESTDIR=$work/run/pg_upgrade" "${prove[@]}" test/tap/t/088_pg_upgrade.pl
}

suite_e2e()
{
	start_kafka
	run_suite e2e 10 tap env "TESTDIR=$work/run/e2e" "${prove[@]}" test/e2e
}

suite_neon()
{
	start_kafka
	run_suite neon 40 tap env "TESTDIR=$work/run/neon" "TE_LOGS=$work/run/neon" test/neon/check
	# the lines themselves: they are what is asked for
	sed -n '/^$/,$p' "$logs/neon.log"
	mkdir -p "$logs/neon"
	cp "$work"/run/neon/*.log "$logs/neon/" 2>/dev/null || true
}

suite_model() { run_suite model 5 whole model/run; }
suite_fuzz() { run_suite fuzz 5 whole make -C src/io fuzz SECONDS=10; }

suite_chaos()
{
	local files=(test/chaos) minutes=$((10 + rounds / 4))

	# the long forms of what the suite tap has in small
	if [ "$rounds" -ge 100 ]; then
		files+=(test/chaos/long)
		minutes=$((minutes + 30))
	fi
	start_kafka
	run_suite chaos "$minutes" tap env "TESTDIR=$work/run/chaos" "TE_CHAOS_ROUNDS=$rounds" \
		"${prove[@]}" "${files[@]}"
}

# ---- all of it ----------------------------------------------------------------------

# A function is read whole: the script may change while it runs.
main()
{
	local suite begin deps

	if [ "${1:-}" = --chaos-rounds ]; then
		rounds=${2:?}
		shift 2
	fi
	suites=("$@")
	[ ${#suites[@]} -gt 0 ] || suites=("${all[@]}")
	for suite in "${suites[@]}"; do
		case " ${all[*]} ${others[*]} " in
			*" $suite "*) ;;
			*) die "no suite $suite; there are: ${all[*]} ${others[*]}" ;;
		esac
	done

	begin=$SECONDS
	mkdir -p "$logs"
	rm -rf "${logs:?}"/*
	case " ${suites[*]} " in *" model "* | *" fuzz "* | *" pgspot "*) deps=test ;; *) deps=servers ;; esac
	"$top/scripts/deps.sh" "$deps" || die "what is needed could not be installed"
	case " ${suites[*]} " in *" e2e "*) need packages "$top/test/e2e/orm/install.sh" ;; esac
	choose_user
	choose_postgres
	pgxs_source=$(dirname "$(dirname "$("$PG_CONFIG" --pgxs)")")
	perl_dir=$pgxs_source/test/perl
	pg_regress=$pgxs_source/test/regress/pg_regress
	make_work
	need copy copy_tree
	need build build
	need install install_it
	need own give_to_user
	for suite in "${suites[@]}"; do
		mkdir -p "$work/run/$suite"
		[ "$(id -u)" -ne 0 ] || chown "$run_user" "$work/run/$suite"
		"suite_$suite"
	done

	printf '\n%-10s %8s %8s %8s %8s\n' suite passed failed skipped time
	printf '%s\n' "${summary[@]}"
	printf '%-10s %35ds\n\n' total $((SECONDS - begin))
	say "$passed passed, $failed failed, $skipped skipped"
}

main "$@"
[ "$failed" -eq 0 ]
