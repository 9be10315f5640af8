#!/bin/bash
#
# librdkafka.sh - brings a librdkafka that can log in to Kafka 4
#
# usage: scripts/librdkafka.sh [--force | --check]
#
# --force builds again, --check only tells (by its exit code) whether a call would
# do without npm.
#
# Leaves build/deps/librdkafka/{include/librdkafka,lib,flags.mk}.  A makefile
# includes flags.mk and has
#
#	RDKAFKA_VERSION   2.15.1
#	RDKAFKA_KIND      static, or system
#	RDKAFKA_CFLAGS    where <librdkafka/rdkafka.h> is
#	RDKAFKA_LIBS      what to put at the end of the link line
#
# Why not the distribution's: before 2.6.1 librdkafka sends the SCRAM client
# nonce twice (librdkafka #4895), and Kafka 4 answers the right password with
# "invalid credentials"; Debian 12 has 2.0.2.  Debian has no newer one, so the
# source comes out of Confluent's own npm package, which carries it whole.  It
# is pinned by version and checksum: whatever registry npm is configured with,
# only these bytes are built.
#
# The library is static, so the installed program depends on nothing that this
# checkout would have to keep in place, and it is built without what we never
# use and would have to secure: libcurl (OIDC), Cyrus SASL (Kerberos, and its
# loadable modules) and syslog.  SCRAM and PLAIN need only OpenSSL.
#
# Environment:
#	RDKAFKA=system   link the system's librdkafka, of whatever version (for
#	                 packagers; an old one is reported, not refused)
#	JOBS=n           parallel compilers (default: all cores)

set -eu -o pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=$top/build/deps
dest=$deps/librdkafka
cache=$deps/cache

version=2.15.1
npm_package=@confluentinc/kafka-javascript@1.10.1
tarball=confluentinc-kafka-javascript-1.10.1.tgz
sha512=29578f5019f6d44a8254ff667f1cc4b8cdd26091c7105ed7fa2882d9ee374108034b211a92c2279821a8a13df0e6af9c340764482acaef58f42027eaa12a992f
oldest_system=2.6.1

configure_options=(--disable-curl --disable-gssapi --disable-zstd --disable-lz4-ext
				   --disable-syslog)

# What the result depends on; another recipe builds again.
recipe="static $version $sha512 ${configure_options[*]}"
log=$deps/librdkafka-build.log

say() { printf 'librdkafka: %s\n' "$*"; }
die() { printf 'librdkafka: %s\n' "$*" >&2; exit 1; }

# version_at_least HAVE WANT
version_at_least()
{
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

verified()
{
	[ -f "$1" ] && printf '%s  %s\n' "$sha512" "$1" | sha512sum --check --status -
}

# Puts the pinned tarball into the cache; says why and fails when it cannot.
download()
{
	verified "$cache/$tarball" && return 0
	command -v npm >/dev/null || { say "npm is not installed"; return 1; }

	mkdir -p "$cache" "$work/npm"
	say "fetching $npm_package"
	# One retry: without a network npm's own three take longer than all the rest.
	if ! (cd "$work/npm" && npm pack --loglevel=error --fetch-retries=1 "$npm_package") \
		>"$work/npm.log" 2>&1 ||
		[ ! -f "$work/npm/$tarball" ]; then
		say "npm pack $npm_package failed:"
		head -n 5 "$work/npm.log"
		return 1
	fi
	# A wrong checksum is never a reason to fall back: somebody changed the bytes.
	verified "$work/npm/$tarball" ||
		die "$tarball does not have the recorded sha512, refusing to build it"
	mv "$work/npm/$tarball" "$cache/$tarball"
}

build_static()
{
	local jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
	local src=$work/src out=$work/out feature libs

	mkdir -p "$src" "$out/include/librdkafka" "$out/lib"
	tar -xzf "$cache/$tarball" -C "$src" --strip-components=3 package/deps/librdkafka
	say "building $version (about 45 s)"
	if ! (cd "$src" && bash ./configure "${configure_options[@]}" &&
		make -j "$jobs" -C src librdkafka.a) >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		die "the build failed, the whole log is in $log"
	fi
	# The build leaves a feature out, quietly, when a header is missing.
	for feature in WITH_SSL WITH_SASL_SCRAM WITH_ZLIB WITH_SNAPPY; do
		grep -q "^#define $feature 1" "$src/config.h" ||
			die "configure switched $feature off: are libssl-dev and zlib1g-dev installed? (log: $log)"
	done

	cp "$src/src/rdkafka.h" "$src/src/rdkafka_mock.h" "$out/include/librdkafka/"
	cp "$src/src/librdkafka.a" "$out/lib/"
	cp "$src/LICENSES.txt" "$src/CONFIGURATION.md" "$out/"
	# Whatever configure found to be needed: -lm, -ldl and -lrt differ by libc.
	libs=$(sed -n 's/^LIBS+=[[:space:]]*//p' "$src/Makefile.config" | tr '\n' ' ' | tr -s ' ')
	# The directory is found when included, so that a copied tree works too.
	cat >"$out/flags.mk" <<-MAKE
		# Written by scripts/librdkafka.sh.
		RDKAFKA_DIR := \$(abspath \$(dir \$(lastword \$(MAKEFILE_LIST))))
		RDKAFKA_VERSION := $version
		RDKAFKA_KIND := static
		RDKAFKA_CFLAGS := -isystem \$(RDKAFKA_DIR)/include
		RDKAFKA_LIBS := \$(RDKAFKA_DIR)/lib/librdkafka.a ${libs% }
	MAKE
	install_result
}

# The stamp is part of what is moved, so that a half-done result never counts.
install_result()
{
	printf '%s\n' "$recipe" >"$work/out/recipe"
	rm -rf "$dest"
	mv "$work/out" "$dest"
}

use_system()
{
	recipe="system $system_version"
	mkdir "$work/out"
	cat >"$work/out/flags.mk" <<-MAKE
		# Written by scripts/librdkafka.sh.
		RDKAFKA_VERSION := $system_version
		RDKAFKA_KIND := system
		RDKAFKA_CFLAGS := $(pkg-config --cflags rdkafka)
		RDKAFKA_LIBS := $(pkg-config --libs rdkafka) -lpthread
	MAKE
	install_result
	say "linking the system's $system_version"
	version_at_least "$system_version" "$oldest_system" ||
		say "warning: $system_version cannot do SCRAM with Kafka 4 (it needs $oldest_system)"
}

mkdir -p "$deps"
# One at a time: several targets ask for it, and make may run them in parallel.
exec 9>"$deps/librdkafka.lock"
flock 9

system_version=$(pkg-config --modversion rdkafka 2>/dev/null || true)

have=$(cat "$dest/recipe" 2>/dev/null || true)
[ "${1:-}" != --force ] || have=

if [ "${1:-}" = --check ]; then
	[ "${RDKAFKA:-}" = system ] || [ "$have" = "$recipe" ] || verified "$cache/$tarball" ||
		{ [ -n "$system_version" ] && version_at_least "$system_version" "$oldest_system"; }
	exit
fi

# Scratch next to where its content goes, so that mv is a rename.
work=$(mktemp -d "$deps/librdkafka.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ "${RDKAFKA:-}" = system ]; then
	[ -n "$system_version" ] ||
		die "RDKAFKA=system, but pkg-config knows no rdkafka: is librdkafka-dev installed?"
	[ "$have" = "system $system_version" ] || use_system
elif [ "$have" = "$recipe" ]; then
	:
elif download; then
	build_static
	say "$version is in build/deps/librdkafka"
elif [ -n "$system_version" ] && version_at_least "$system_version" "$oldest_system"; then
	[ "$have" = "system $system_version" ] || use_system
else
	die "neither the pinned source nor a system librdkafka >= $oldest_system is to be had
(the source: put $tarball, from \`npm pack $npm_package\` on another machine, into build/deps/cache;
the system's: install a librdkafka-dev >= $oldest_system, or set RDKAFKA=system to take an older one)"
fi
