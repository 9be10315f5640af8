#!/bin/bash
#
# kafka.sh - a private one-node Kafka for tests, benchmarks and the demo
#
# usage: kafka.sh start DIR [option ...]
#        kafka.sh stop|kill|freeze|thaw|status DIR
#
# start   creates the broker in DIR at the first call and returns when it
#         answers. On a DIR that exists it starts the same broker again: same
#         data, ports, users and certificates; only --heap, --quick and
#         --timeout are then heeded. Nothing happens if it runs already.
#   --port N        the plaintext port (default: a free one, as all others are)
#   --sasl          also SASL listeners, with and without TLS: SCRAM-SHA-256,
#                   SCRAM-SHA-512 and PLAIN
#   --tls           also TLS listeners: server certificate only, client
#                   certificate required, and one with an expired certificate
#   --auto-create   the broker creates topics that clients ask for
#   --set K=V       a line for server.properties (repeatable)
#   --heap SIZE     Java heap (default 512m)
#   --quick         start about a second faster, run slower (no second compiler)
#   --timeout S     how long to wait for it (default 60, times TE_PATIENCE)
# stop    ends it in an orderly way (after --timeout S, default 30, by force)
# kill    ends it with SIGKILL, as a crash would
# freeze  SIGSTOP: it keeps its connections and answers nothing; thaw: SIGCONT
# status  prints "running", "frozen" or "stopped", the pid and the bootstrap
#         address; exit code 0 unless stopped (3)
#
# DIR/env is a shell file to be sourced (no exports: `set -a` around it):
#	KAFKA_BOOTSTRAP                 plaintext
#	KAFKA_SASL_BOOTSTRAP            SASL over TLS, KAFKA_SASL_PLAINTEXT_BOOTSTRAP without
#	KAFKA_USER KAFKA_PASSWORD KAFKA_PASSWORD_FILE
#	KAFKA_TLS_BOOTSTRAP             TLS, any client
#	KAFKA_MTLS_BOOTSTRAP            TLS, only clients with a certificate
#	KAFKA_EXPIRED_BOOTSTRAP         TLS, the server's certificate has expired
#	KAFKA_CA KAFKA_WRONG_CA         the authority that signed them, and one that did not
#	KAFKA_CLIENT_CERT KAFKA_CLIENT_KEY   a client the broker takes
#	KAFKA_WRONG_CERT KAFKA_WRONG_KEY     a client of the wrong authority
# Those of listeners that DIR does not have are missing.
#
# Everything listens on 127.0.0.1 only. Needs a Java (17 or newer; JAVA_HOME is
# heeded), openssl for --sasl and --tls, and the jars that `scripts/deps.sh test`
# puts into build/deps/kafka/lib (KAFKA_LIB names another place). The environment
# variable KAFKA_JAVA_OPTIONS adds options to the broker's Java.

set -eu -o pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
lib=${KAFKA_LIB:-$top/build/deps/kafka/lib}
java=${JAVA_HOME:+$JAVA_HOME/bin/}java

die() { printf 'kafka: %s\n' "$*" >&2; exit 1; }

usage()
{
	sed -n '/^# usage:/,/^$/p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//' >&2
	exit 2
}

# ---- the process ----------------------------------------------------------

# When a process began, in clock ticks; with the pid it names a process for good,
# so that a pid file left over from a crash never makes us kill a stranger.
began()
{
	local stat

	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	# The second field is the name, in parentheses, and may hold anything.
	set -- ${stat##*) }
	[ "$1" != Z ] && echo "${20}"
}

# Sets pid to the running broker's; false if there is none.
running()
{
	local start

	pid=
	[ -f "$dir/pid" ] || return 1
	read -r pid start <"$dir/pid" || return 1
	[ "$(began "$pid")" = "$start" ]
}

frozen()
{
	local stat

	stat=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
	case ${stat##*) } in T*) return 0 ;; esac
	return 1
}

# wait_gone SECONDS
wait_gone()
{
	local deadline=$((SECONDS + $1))

	while running; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

# The lines of a Java program's output that say why it ended: all that is neither
# routine nor indented (the steps of a stack trace, the dump of a configuration).
reason()
{
	grep -vE '^[[:space:]]| (INFO|WARN|DEBUG) |^$' "$1" | head -n 5
	echo "(the whole log: $1)"
}

# ---- making one -----------------------------------------------------------

used_ports=" "

# Sets free_port to one that nobody listens on. From below the range that the
# system gives to outgoing connections: out of that range, some client would
# hold the port when the broker is started again.
pick_port()
{
	local try

	for try in {1..200}; do
		free_port=$((16384 + (RANDOM * 2 + RANDOM % 2) % 16000))
		case $used_ports in *" $free_port "*) continue ;; esac
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$free_port") 2>/dev/null; then
			used_ports+="$free_port "
			return 0
		fi
	done
	die "found no free port"
}

# make_authority NAME: certs/NAME.crt and certs/NAME.key
make_authority()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
		-subj "/CN=kafka.sh $1" -keyout "$dir/certs/$1.key" -out "$dir/certs/$1.crt"
}

# make_certificate NAME AUTHORITY OPTION ...: certs/NAME.crt and .key, and both in
# one NAME.pem, as the broker wants them; options say how long it is valid.
make_certificate()
{
	local c=$dir/certs name=$1 authority=$2

	shift 2
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
		-subj "/CN=$name" -keyout "$c/$name.key" -out "$c/$name.csr" &&
		openssl x509 -req -in "$c/$name.csr" -CA "$c/$authority.crt" -CAkey "$c/$authority.key" -CAcreateserial \
			"$@" -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost") -out "$c/$name.crt" &&
		cat "$c/$name.key" "$c/$name.crt" >"$c/$name.pem" &&
		rm "$c/$name.csr"
}

# From 3.4 on openssl takes no negative number of days, and before no dates.
make_expired_certificate()
{
	make_certificate "$1" "$2" -not_before 20200101000000Z -not_after 20200102000000Z ||
		make_certificate "$1" "$2" -days -1
}

make_certificates()
{
	command -v openssl >/dev/null || die "openssl is not installed"
	mkdir -p "$dir/certs"
	{
		make_authority ca &&
			make_authority wrong-ca &&
			make_certificate server ca -days 3650 &&
			make_certificate client ca -days 3650 &&
			make_expired_certificate expired ca &&
			make_certificate wrong-client wrong-ca -days 3650
	} >"$dir/logs/openssl.log" 2>&1 || die "openssl failed: $(tail -n 3 "$dir/logs/openssl.log")"
}

# add_listener NAME PROTOCOL PORT
add_listener()
{
	listeners+=${listeners:+,}$1://127.0.0.1:$3
	protocols+=${protocols:+,}$1:$2
	[ "$1" = CONTROLLER ] || advertised+=${advertised:+,}$1://127.0.0.1:$3
}

# template FILE: fills in the @NAMES@
template()
{
	sed -e "s|@DIR@|$dir|g" -e "s|@CONTROLLER_PORT@|$controller_port|g" \
		-e "s|@AUTO_CREATE@|$auto_create|g" -e "s|@USER@|$user|g" \
		-e "s|@PASSWORD@|$password|g" "$here/$1" >>"$dir/server.properties"
}

remember() { printf "%s='%s'\n" "$1" "$2" >>"$dir/env"; }

# Writes server.properties and env for freshly picked ports.
configure()
{
	local listeners= protocols= advertised= controller_port line

	: >"$dir/server.properties"
	: >"$dir/env"

	free_port=$port
	[ -n "$port" ] || pick_port
	add_listener PLAINTEXT PLAINTEXT "$free_port"
	remember KAFKA_BOOTSTRAP "127.0.0.1:$free_port"
	pick_port
	controller_port=$free_port
	add_listener CONTROLLER PLAINTEXT "$free_port"

	template server.properties.in
	if $sasl || $tls; then
		template tls.properties.in
		remember KAFKA_CA "$dir/certs/ca.crt"
		remember KAFKA_WRONG_CA "$dir/certs/wrong-ca.crt"
	fi
	if $sasl; then
		template sasl.properties.in
		pick_port
		add_listener SASL_SSL SASL_SSL "$free_port"
		remember KAFKA_SASL_BOOTSTRAP "127.0.0.1:$free_port"
		pick_port
		add_listener SASL_PLAINTEXT SASL_PLAINTEXT "$free_port"
		remember KAFKA_SASL_PLAINTEXT_BOOTSTRAP "127.0.0.1:$free_port"
		remember KAFKA_USER "$user"
		remember KAFKA_PASSWORD "$password"
		remember KAFKA_PASSWORD_FILE "$dir/password"
	fi
	if $tls; then
		template tls-listeners.properties.in
		pick_port
		add_listener SSL SSL "$free_port"
		remember KAFKA_TLS_BOOTSTRAP "127.0.0.1:$free_port"
		pick_port
		add_listener MTLS SSL "$free_port"
		remember KAFKA_MTLS_BOOTSTRAP "127.0.0.1:$free_port"
		pick_port
		add_listener EXPIRED SSL "$free_port"
		remember KAFKA_EXPIRED_BOOTSTRAP "127.0.0.1:$free_port"
		remember KAFKA_CLIENT_CERT "$dir/certs/client.crt"
		remember KAFKA_CLIENT_KEY "$dir/certs/client.key"
		remember KAFKA_WRONG_CERT "$dir/certs/wrong-client.crt"
		remember KAFKA_WRONG_KEY "$dir/certs/wrong-client.key"
	fi
	{
		echo
		echo "listeners=$listeners"
		echo "advertised.listeners=$advertised"
		echo "listener.security.protocol.map=$protocols"
		for line in ${extra[@]+"${extra[@]}"}; do
			echo "$line"
		done
	} >>"$dir/server.properties"
}

# java_run CLASS ARG ...: with the options every JVM of ours gets
java_run()
{
	# The jars of a checkout are a class path that the shell must not expand.
	"$java" -XX:-UsePerfData -Xshare:auto -Djava.awt.headless=true \
		"-Djava.io.tmpdir=$dir/tmp" "-Dlog4j2.configurationFile=$here/log4j2.properties" \
		-cp "$lib/*" "$@"
}

format()
{
	local users=()

	if $sasl; then
		users=(--add-scram "SCRAM-SHA-256=[name=$user,password=$password]"
			   --add-scram "SCRAM-SHA-512=[name=$user,password=$password]")
	fi
	rm -rf "$dir/data"
	# The cluster's id is a uuid in URL-safe base64 without its padding; it may
	# not begin with a dash.
	java_run -Xmx128m -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format --standalone \
		-t "A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)" \
		-c "$dir/server.properties" ${users[@]+"${users[@]}"} >"$dir/logs/format.log" 2>&1 ||
		die "cannot format $dir/data:
$(reason "$dir/logs/format.log")"
}

# ---- starting -------------------------------------------------------------

# Starts the JVM and waits. 0: it answers; 1: a port was taken; else it dies.
launch()
{
	local deadline options=("-Xms$heap" "-Xmx$heap" -XX:+ExitOnOutOfMemoryError)

	# Words on purpose: several options in one variable.
	options+=(${KAFKA_JAVA_OPTIONS:-})

	$quick && options+=(-XX:TieredStopAtLevel=1)
	rm -f "$dir/pid" "$dir/pid.new"
	[ ! -f "$dir/logs/server.log" ] || mv "$dir/logs/server.log" "$dir/logs/server.log.old"

	# The broker outlives us: it gets a session of its own, so that a Ctrl-C at
	# the caller's terminal does not reach it, and none of the caller's
	# descriptors, since a lock or a pipe held by it would never be let go.
	(
		for fd in "/proc/$BASHPID/fd/"*; do
			fd=${fd##*/}
			[ "$fd" -le 2 ] || eval "exec $fd>&-"
		done
		cd /
		exec setsid "${BASH:-bash}" -c '
			echo "$$" >"$1/pid.new"
			shift
			exec "$@"' sh "$dir" \
			"$java" -XX:-UsePerfData -Xshare:auto -Djava.awt.headless=true \
			"-Djava.io.tmpdir=$dir/tmp" "-Dlog4j2.configurationFile=$here/log4j2.properties" \
			"${options[@]}" -cp "$lib/*" kafka.Kafka "$dir/server.properties"
	) </dev/null >"$dir/logs/server.log" 2>&1 &

	deadline=$((SECONDS + timeout))
	until [ -s "$dir/pid.new" ]; do
		[ "$SECONDS" -lt "$deadline" ] || die "the broker's process did not begin"
		sleep 0.02
	done
	read -r pid <"$dir/pid.new"
	echo "$pid $(began "$pid" || echo 0)" >"$dir/pid"
	rm -f "$dir/pid.new"

	until grep -q 'Kafka Server started' "$dir/logs/server.log"; do
		if ! running; then
			grep -q 'Address already in use' "$dir/logs/server.log" && return 1
			die "the broker ended while it started:
$(reason "$dir/logs/server.log")"
		fi
		if [ "$SECONDS" -ge "$deadline" ]; then
			kill -9 "$pid"
			die "the broker was not ready within $timeout s:
$(tail -n 3 "$dir/logs/server.log")
(the whole log: $dir/logs/server.log)"
		fi
		sleep 0.1
	done
}

cmd_start()
{
	local port= sasl=false tls=false auto_create=false quick=false heap=512m timeout=$((60 * ${TE_PATIENCE:-1}))
	local extra=() user=todo password try

	while [ $# -gt 0 ]; do
		case $1 in
			--port) port=${2:?} && shift 2 ;;
			--sasl) sasl=true && shift ;;
			--tls) tls=true && shift ;;
			--auto-create) auto_create=true && shift ;;
			--set) extra+=("${2:?}") && shift 2 ;;
			--heap) heap=${2:?} && shift 2 ;;
			--quick) quick=true && shift ;;
			--timeout) timeout=${2:?} && shift 2 ;;
			*) usage ;;
		esac
	done

	if running; then
		! frozen || die "the broker in $dir is frozen (kafka.sh thaw $dir)"
		return 0
	fi
	command -v "$java" >/dev/null || die "no java found (scripts/deps.sh test installs one)"
	[ -n "$(find "$lib" -maxdepth 1 -name 'kafka_*.jar' 2>/dev/null)" ] ||
		die "no Kafka in $lib (scripts/deps.sh test fetches it)"
	case $dir in *[\'\|\&\\\ ]*) die "the directory's name must not need quoting: $dir" ;; esac

	# format is the last step of making one, so a half-made DIR is made again.
	if [ ! -f "$dir/data/meta.properties" ]; then
		umask 077
		mkdir -p "$dir/logs" "$dir/tmp"
		password=$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')
		printf '%s\n' "$password" >"$dir/password"
		if $sasl || $tls; then
			make_certificates
		fi
		for try in 1 2 3; do
			configure
			format
			launch && return 0
			# Somebody took a port between our look and the broker's bind.
			[ -z "$port" ] || break
		done
	else
		launch && return 0
	fi
	die "a port is taken: $(grep -m 1 -hE 'Address already in use|Socket server failed' \
		"$dir/logs/server.log")"
}

# ---- ending ---------------------------------------------------------------

cmd_stop()
{
	local timeout=30

	[ "${1:-}" != --timeout ] || timeout=${2:?}
	running || return 0
	kill -TERM "$pid"
	# A frozen process takes no other signal before it goes on.
	kill -CONT "$pid" 2>/dev/null || true
	if ! wait_gone "$timeout"; then
		echo "kafka: not gone after $timeout s, killing it" >&2
		kill -KILL "$pid" 2>/dev/null || true
		wait_gone 10 || die "process $pid does not end"
	fi
	rm -f "$dir/pid"
}

cmd_kill()
{
	running || return 0
	kill -KILL "$pid"
	wait_gone 10 || die "process $pid does not end"
	rm -f "$dir/pid"
}

cmd_freeze() { running || die "no broker runs in $dir"; kill -STOP "$pid"; }
cmd_thaw() { running || die "no broker runs in $dir"; kill -CONT "$pid"; }

cmd_status()
{
	local state=running

	running || { echo stopped; exit 3; }
	! frozen || state=frozen
	echo "$state $pid $(. "$dir/env"; echo "$KAFKA_BOOTSTRAP")"
}

[ $# -ge 2 ] || usage
command=$1
dir=$2
shift 2
case $command in start | stop | kill | freeze | thaw | status) ;; *) usage ;; esac
[ "$command" != start ] || mkdir -p "$dir"
if [ ! -d "$dir" ]; then
	[ "$command" != status ] || { echo stopped; exit 3; }
	die "no such directory: $dir"
fi
dir=$(cd "$dir" && pwd)
"cmd_$command" "$@"
