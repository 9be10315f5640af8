#!/bin/bash
#
# deps.sh - what building, testing and the demo need
#
# usage: scripts/deps.sh [build|demo|servers|test|list]
#
#	build   compilers, PostgreSQL with its headers, and a static librdkafka made
#	        from source (scripts/librdkafka.sh says why)
#	demo    build, and kcat to look at the demo's broker
#	servers demo, a Kafka broker, and the tools of the suites that need a server
#	test    servers, and the tools of all other suites; this is the default
#	list    prints the packages of `test` that are missing, and changes nothing
#
# On Debian it installs what is missing with apt-get, as root or through sudo;
# elsewhere it says what is missing. When nothing is, it touches neither apt nor
# the network and is done in a moment. All else goes to build/deps:
#
#	build/deps/librdkafka   see scripts/librdkafka.sh
#	build/deps/kafka/lib    Apache Kafka, the versions of scripts/kafka/pom.xml
#	build/deps/pgspot       see scripts/pgspot.sh
#	build/deps/pgbouncer    pgbouncer's package and its libraries, unpacked: installed,
#	                        it would start a service
#	build/deps/cache        what was downloaded; a copied tree needs no network
#
# npm, Maven, pip and apt use whatever registries and mirrors they are configured with.
#
# Environment: PG_CONFIG names the PostgreSQL to build for; PG_MAJOR picks the
# version that is installed where there is none.

set -eu -o pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=$top/build/deps
kafka=$deps/kafka

say() { printf 'deps: %s\n' "$*"; }
die() { printf 'deps: %s\n' "$*" >&2; exit 1; }

what=${1:-test}
case $what in
	build | demo | servers | test | list) ;;
	*) sed -n '/^# usage:/,/^$/p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//' >&2; exit 2 ;;
esac

# ---- the distribution's packages -------------------------------------------

# The PostgreSQL that we are built for: the one at hand, or the distribution's.
pg_major()
{
	if [ -n "${PG_MAJOR:-}" ]; then
		echo "$PG_MAJOR"
	elif command -v "${PG_CONFIG:-pg_config}" >/dev/null; then
		"${PG_CONFIG:-pg_config}" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/'
	else
		case $(. /etc/os-release && echo "${ID:-}${VERSION_ID:-}") in
			debian13) echo 17 ;;
			*) echo 15 ;;
		esac
	fi
}

has_java()
{
	local version

	command -v java >/dev/null || return 1
	version=$(java -version 2>&1 | sed -n '1s/^[^"]*"\([0-9]*\).*/\1/p')
	[ "${version:-0}" -ge 17 ]
}

# The packages of a subset, one a word. What may just as well have come from
# elsewhere (a JDK, Node) is asked for by its command, not by its package.
packages()
{
	local major

	major=$(pg_major)
	echo build-essential pkg-config libssl-dev zlib1g-dev ca-certificates
	echo "postgresql-$major" "postgresql-server-dev-$major"
	command -v npm >/dev/null || "$top/scripts/librdkafka.sh" --check || echo npm
	[ "${RDKAFKA:-}" != system ] || echo librdkafka-dev
	[ "$1" != build ] || return 0

	echo kcat
	[ "$1" != demo ] || return 0

	echo openssl procps
	has_java || echo default-jre-headless
	[ -f "$kafka/lib/.complete" ] || command -v mvn >/dev/null || echo maven
	echo "postgresql-$major-pgtap" libipc-run-perl
	optional "postgresql-$major-pgaudit" "postgresql-$major-cron"
	echo python3-venv
	[ "$1" != servers ] || return 0

	echo spin clang libclang-rt-dev
}

# optional PACKAGE ...: those that the distribution has, or all where apt has not
# been told yet what there is. Tests of what is not there are skipped.
optional()
{
	local package

	for package in $(missing "$@"); do
		if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null ||
			[ -n "$(apt-cache madison "$package" 2>/dev/null)" ]; then
			echo "$package"
		fi
	done
}

# missing PACKAGE ...: those that are not installed
missing()
{
	local installed package

	# dpkg-query fails when it has never heard of one of them, which is no failure.
	installed=" $({ dpkg-query -W -f '${db:Status-Status}:${Package}\n' "$@" 2>/dev/null || true; } |
		sed -n 's/^installed://p' | tr '\n' ' ')"
	for package in "$@"; do
		case $installed in *" $package "*) ;; *) echo "$package" ;; esac
	done
}

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo -- "$@"
	fi
}

# A librdkafka of the distribution that is new enough spares npm, which brings
# hundreds of packages with it.
prefer_system_librdkafka()
{
	local candidate

	candidate=$(apt-cache policy librdkafka-dev 2>/dev/null | sed -n 's/^ *Candidate: *//p')
	case $candidate in '' | '(none)') return 1 ;; esac
	dpkg --compare-versions "$candidate" ge 2.6.1
}

install_packages()
{
	local list i apt log=$deps/apt.log

	if ! command -v apt-get >/dev/null; then
		check_commands
		return 0
	fi
	list=$(packages "$1")
	list=$(missing $list)
	[ -n "$list" ] || return 0
	mapfile -t list <<<"$list"
	if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
		die "these packages are missing, and there is no sudo to install them:
  apt-get install --no-install-recommends ${list[*]}"
	fi

	mkdir -p "$deps"
	apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
	say "installing ${list[*]}"
	as_root "${apt[@]}" update >"$log" 2>&1 || { tail -n 5 "$log" >&2; die "apt-get update failed"; }
	# what there is, is known now
	list=$(packages "$1")
	list=$(missing $list)
	[ -n "$list" ] || return 0
	mapfile -t list <<<"$list"
	for i in "${!list[@]}"; do
		if [ "${list[$i]}" = npm ] && prefer_system_librdkafka; then
			list[i]=librdkafka-dev
		fi
	done
	as_root "${apt[@]}" install --no-install-recommends "${list[@]}" >>"$log" 2>&1 ||
		{ tail -n 10 "$log" >&2; die "apt-get install failed, the whole log is in $log"; }
}

# Where there is no apt: names what is not there, by the command or file it gives.
check_commands()
{
	local absent=() command

	for command in cc make pkg-config "${PG_CONFIG:-pg_config}" flock openssl; do
		command -v "$command" >/dev/null || absent+=("$command")
	done
	if [ "$what" != build ]; then
		command -v kcat >/dev/null || absent+=(kcat)
	fi
	if [ "$what" = servers ] || [ "$what" = test ]; then
		has_java || absent+=("java (17 or newer)")
		[ -f "$kafka/lib/.complete" ] || command -v mvn >/dev/null || absent+=(mvn)
		for command in prove python3 $([ "$what" = servers ] || echo spin clang); do
			command -v "$command" >/dev/null || absent+=("$command")
		done
	fi
	[ ${#absent[@]} -eq 0 ] ||
		die "this is no Debian, please install: $(printf '%s; ' "${absent[@]}" | sed 's/; $//')"
}

# ---- Kafka ------------------------------------------------------------------

# The jars, when the pinned list differs from the one they were made from.
fetch_kafka()
{
	local pom=$top/scripts/kafka/pom.xml scratch

	mkdir -p "$kafka"
	exec 8>"$deps/kafka.lock"
	flock 8
	if [ -f "$kafka/lib/.complete" ] && cmp -s "$pom" "$kafka/lib/.complete"; then
		exec 8>&-
		return 0
	fi
	say "fetching $(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|Apache Kafka \1|p' "$pom")"
	scratch=$(mktemp -d "$kafka/fetch.XXXXXX")
	# --strict-checksums: a damaged jar is an error, not a warning
	if ! mvn -q -B --strict-checksums -f "$pom" dependency:copy-dependencies \
		"-DoutputDirectory=$scratch/lib" >"$deps/mvn.log" 2>&1; then
		rm -rf "$scratch"
		grep -m 5 ERROR "$deps/mvn.log" >&2 || tail -n 5 "$deps/mvn.log" >&2
		die "Maven could not fetch Kafka, the whole log is in $deps/mvn.log"
	fi
	cp "$pom" "$scratch/lib/.complete"
	rm -rf "$kafka/lib"
	mv "$scratch/lib" "$kafka/lib"
	chmod -R a+rX "$kafka/lib"
	rmdir "$scratch"
	exec 8>&-
}

# ---- pgbouncer ----------------------------------------------------------------

# Unpacked, with those of its libraries that are not installed. Where there is no
# apt, or no such package, its test is skipped unless there is one in the PATH.
fetch_pgbouncer()
{
	local scratch package libraries

	if [ -x "$deps/pgbouncer/usr/sbin/pgbouncer" ] || ! command -v apt-get >/dev/null; then
		return 0
	fi
	mkdir -p "$deps"
	exec 8>"$deps/pgbouncer.lock"
	flock 8
	scratch=$(mktemp -d "$deps/pgbouncer.XXXXXX")
	say "fetching pgbouncer"
	if (
		cd "$scratch" || exit
		apt-get -q download pgbouncer || { as_root apt-get -q update && apt-get -q download pgbouncer; } || exit
		libraries=$(dpkg-deb -f pgbouncer_*.deb Depends | tr ',' '\n' | sed -n 's/^ *\(lib[a-z0-9.+-]*\).*/\1/p')
		for package in $(missing $libraries); do
			apt-get -q download "$package" || exit
		done
		for package in *.deb; do
			dpkg-deb -x "$package" . && rm "$package" || exit
		done
	) >"$deps/pgbouncer.log" 2>&1; then
		rm -rf "$deps/pgbouncer"
		chmod -R a+rX "$scratch"
		mv "$scratch" "$deps/pgbouncer"
	else
		rm -rf "$scratch"
		say "no pgbouncer: its test will be skipped; the whole log is in $deps/pgbouncer.log"
	fi
	exec 8>&-
}

if [ "$what" = list ]; then
	list=$(packages test)
	missing $list
	exit 0
fi
install_packages "$what"
"$top/scripts/librdkafka.sh"
case $what in servers | test) fetch_kafka; fetch_pgbouncer ;; esac
[ "$what" != test ] || "$top/scripts/pgspot.sh" --install
