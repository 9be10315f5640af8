# shellcheck shell=bash
#
# lib.sh - what scripts/test.sh and scripts/demo.sh share; to be sourced
#
# PostgreSQL refuses to run as root. Where we are root, servers therefore run as
# an ordinary user ($run_user), in directories that this user owns. Everything
# that is started carries TE_RUN_ID in its environment, so that it can be found
# and ended, by pid, whatever became of the script that started it.

# shellcheck disable=SC2034
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo -- "$@"
	fi
}

# Sets run_user; `as_user COMMAND ...` runs a command as that user.
choose_user()
{
	if [ "$(id -u)" -ne 0 ]; then
		run_user=$(id -un)
		return 0
	fi
	run_user=${TE_RUN_USER:-postgres}
	id "$run_user" >/dev/null 2>&1 ||
		die "PostgreSQL does not run as root, and there is no user $run_user (TE_RUN_USER names another)"
}

as_user()
{
	if [ "$(id -u)" -eq 0 ]; then
		runuser -u "$run_user" -- "$@"
	else
		"$@"
	fi
}

# Puts the PostgreSQL that we are built for first in PATH.
choose_postgres()
{
	PG_CONFIG=$(command -v "${PG_CONFIG:-pg_config}") || die "no pg_config (scripts/deps.sh build installs one)"
	export PG_CONFIG
	bindir=$("$PG_CONFIG" --bindir)
	PATH=$bindir:$PATH
	export PATH
	[ -x "$bindir/initdb" ] || die "no PostgreSQL server in $bindir"
}

# install_extension TREE [VARIABLE=VALUE ...]: into the PostgreSQL of PG_CONFIG, as
# root if need be; with the variables it was built with, or it is built again
install_extension()
{
	local tree=$1

	shift
	if [ -w "$("$PG_CONFIG" --pkglibdir)" ] && [ -w "$("$PG_CONFIG" --sharedir)/extension" ]; then
		make -C "$tree" install "$@"
	else
		as_root make -C "$tree" install "PG_CONFIG=$PG_CONFIG" "$@"
	fi
}

# copy_sources DIRECTORY: this tree as it is now, without what was built in it, which
# may have been built otherwise
copy_sources()
{
	tar -C "$top" --exclude=./build --exclude=./.git --exclude='*.o' --exclude='*.bc' \
		--exclude='*.so' --exclude='*.a' -cf - . | tar -C "$1" -xf - --no-same-owner
}

# Sets free_port. From below the range that the system gives to outgoing
# connections, where some client could hold it when a server is started again.
pick_port()
{
	local try

	for try in {1..200}; do
		free_port=$((16384 + (RANDOM * 2 + RANDOM % 2) % 16000))
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$free_port") 2>/dev/null; then
			return 0
		fi
	done
	die "found no free port in $try tries"
}

# wait_until SECONDS DESCRIPTION COMMAND ...
wait_until()
{
	local deadline=$((SECONDS + $1)) what=$2

	shift 2
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || die "timed out waiting until $what"
		sleep 0.1
	done
}

# The pids of the processes whose environment holds TE_RUN_ID=$1.
processes_of()
{
	local dir

	for dir in /proc/[0-9]*; do
		if grep -qzx "TE_RUN_ID=$1" "$dir/environ" 2>/dev/null; then
			echo "${dir#/proc/}"
		fi
	done
	return 0
}

# end_processes_of ID: by signals that PostgreSQL takes for an immediate
# shutdown and all others for a request to end; what is left then, by force
end_processes_of()
{
	local pid deadline pids

	pids=$(processes_of "$1")
	[ -n "$pids" ] || return 0
	for pid in $pids; do
		case $(cat "/proc/$pid/comm" 2>/dev/null) in
			postgres) kill -QUIT "$pid" 2>/dev/null || true ;;
			*) kill -TERM "$pid" 2>/dev/null || true ;;
		esac
		# a stopped one takes no signal before it goes on
		kill -CONT "$pid" 2>/dev/null || true
	done
	deadline=$((SECONDS + 10))
	while pids=$(processes_of "$1") && [ -n "$pids" ]; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			# shellcheck disable=SC2086
			kill -KILL $pids 2>/dev/null || true
			return 0
		fi
		sleep 0.1
	done
}
