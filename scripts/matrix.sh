#!/bin/bash
#
# matrix.sh - the suites on every PostgreSQL that is supported (make matrix)
#
# usage: scripts/matrix.sh [--fresh] [leg ...]
#
# All legs, in this order, if none is named:
#
#	15          PostgreSQL 15, Debian 12; the library and todo_events_io with UBSan
#	17          PostgreSQL 17, Debian 13; both with ASan and UBSan, the server preloads ASan
#	18          PostgreSQL 18, Debian sid; as a user builds it
#	valgrind    PostgreSQL 15; the regression tests with the whole server under valgrind
#	pg_upgrade  a cluster goes by pg_upgrade from 15 to 17 and on to 18, in the sid chroot
#	upgrade     PostgreSQL 18; make check-upgrade: the suites on objects of earlier versions
#
# Each runs scripts/test.sh in a Debian chroot of its own, made by debootstrap, with
# warnings as errors. What does not depend on PostgreSQL's version is not repeated:
# model and fuzz are left to `make test`, unit runs where there is a sanitizer, and
# e2e, an application from PyPI whose queries are those of the other suites, on 15.
#
# Needs root, for debootstrap, mount and chroot, and a Debian host (12 or newer). The
# packages come from the host's mirror, with the host's apt options and its
# certificates; what npm and Maven fetch, the host fetches (scripts/deps.sh). The
# host's PostgreSQL is neither used nor touched. Everything that is mounted or started
# is so in namespaces of their own, which end with this script, however that ends.
#
# The chroots stay in TE_MATRIX_DIR (default: /var/tmp/todo_events-matrix), so that the
# next run has only the tests to do; --fresh makes them anew. Logs are in build/matrix:
# a leg's in LEG.log, those of its suites in LEG/. Exit code 0 if nothing failed.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

dir=${TE_MATRIX_DIR:-/var/tmp/todo_events-matrix}
logs=$top/build/matrix
all=(15 17 18 valgrind pg_upgrade upgrade)
passed=0 failed=0 skipped=0
summary=()

# ---- the chroots -------------------------------------------------------------------

# What changes here makes the chroots anew.
recipe=1

suite_of()
{
	case $1 in
		15) echo bookworm ;;
		17) echo trixie ;;
		18) echo sid ;;
		*) die "no Debian suite is known for PostgreSQL $1" ;;
	esac
}

# The mirrors that this host's apt uses, by the archive's name ("debian" or
# "debian-security"); empty if it has none.
host_mirror()
{
	{ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
		sed -n 's/^[[:space:]]*URIs:[[:space:]]*//p; s/^deb[[:space:]]\(\[[^]]*\][[:space:]]*\)\{0,1\}//p' |
		tr ' \t' '\n\n' | sed -n "s|^\(https\{0,1\}://.*/$1\)/*\$|\1|p" | head -n 1
}

# The host's options of apt (proxies, certificates, checks of dates): all files that
# hold one, but those of containers, which throw the cache away.
copy_apt_options()
{
	local root=$1 file

	mkdir -p "$root/etc/apt/apt.conf.d"
	for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
		if [ -f "$file" ] && grep -q '^[[:space:]]*Acquire' "$file"; then
			cp "$file" "$root/etc/apt/apt.conf.d/90host-$(basename "$file")"
		fi
	done
	if [ -f /etc/apt/apt.conf ]; then
		cp /etc/apt/apt.conf "$root/etc/apt/apt.conf.d/89host"
	fi
}

# The authorities that this host trusts beyond Debian's.
copy_certificates()
{
	local root=$1

	mkdir -p "$root/usr/local/share/ca-certificates"
	[ ! -d /usr/local/share/ca-certificates ] ||
		cp -rL /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/"
	chroot "$root" update-ca-certificates
}

write_sources()
{
	local root=$1 suite=$2 mirror=$3 security

	echo "deb $mirror $suite main"
	[ "$suite" != sid ] || return 0
	echo "deb $mirror $suite-updates main"
	security=$(host_mirror debian-security)
	echo "deb ${security:-http://security.debian.org/debian-security} $suite-security main"
}

# mount_for ROOT: what the programs in it expect; all of it ends with our namespace
mount_for()
{
	local root=$1

	mount -t proc proc "$root/proc"
	mkdir -p "$root/dev/shm" "$root/dev/pts"
	mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
}

# in_root ROOT COMMAND ...: without what the host's environment says of the host, but
# with the proxies
in_root()
{
	local root=$1 variable environment=()

	shift
	for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
		[ -z "${!variable:-}" ] || environment+=("$variable=${!variable}")
	done
	chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		TERM="${TERM:-dumb}" DEBIAN_FRONTEND=noninteractive "${environment[@]}" "$@"
}

# make_root VERSION: sets root, a chroot with a Debian that has that PostgreSQL
make_root()
{
	local version=$1 suite mirror

	suite=$(suite_of "$version")
	root=$dir/$suite
	if [ "$(cat "$root/.complete" 2>/dev/null)" != "$recipe" ]; then
		mirror=$(host_mirror debian)
		mirror=${mirror:-http://deb.debian.org/debian}
		rm -rf --one-file-system "$root"
		mkdir -p "$root"
		debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror"
		copy_apt_options "$root"
		copy_certificates "$root"
		write_sources "$root" "$suite" "$mirror" >"$root/etc/apt/sources.list"
		# no cluster of its own, no service
		printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
		chmod +x "$root/usr/sbin/policy-rc.d"
		mkdir -p "$root/etc/postgresql-common"
		echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
		echo "$recipe" >"$root/.complete"
	fi
	# names are resolved as here
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	mountpoint -q "$root/proc" || mount_for "$root"
}

# The sources of now, and what has been fetched; what was built there before stays
# in build/deps.
copy_to_root()
{
	local root=$1 from

	mkdir -p "$root/src/build/deps/kafka"
	find "$root/src" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
	copy_sources "$root/src"
	[ ! -d "$top/build/deps/cache" ] || cp -ru "$top/build/deps/cache" "$root/src/build/deps/"
	[ ! -d "$top/build/deps/kafka/lib" ] || cp -ru "$top/build/deps/kafka/lib" "$root/src/build/deps/kafka/"
	# a Python of the same version takes the same packages; install.sh looks at it
	[ ! -d "$top/build/deps/orm" ] || [ -e "$root/src/build/deps/orm" ] ||
		cp -r "$top/build/deps/orm" "$root/src/build/deps/"
}

# ---- what runs in them ---------------------------------------------------------------

# wrap_server ROOT VERSION COMMAND: from now on every server there runs by COMMAND.
# What starts a server (pg_ctl, pg_regress, initdb) gets a script in its place, by a
# mount of this run alone.
wrap_server()
{
	local root=$1 bin=/usr/lib/postgresql/$2/bin

	cp "$root$bin/postgres" "$root$bin/postgres.unwrapped"
	printf '#!/bin/bash\n%s\n' "$3" >"$root/usr/local/bin/postgres-wrapper"
	chmod 755 "$root/usr/local/bin/postgres-wrapper"
	mount --bind "$root/usr/local/bin/postgres-wrapper" "$root$bin/postgres"
}

# tests VERSION [VARIABLE=VALUE ...] suite ...
tests()
{
	local version=$1

	shift
	install_server "$version"
	echo "matrix.sh: runs on $(in_root "$root" "/usr/lib/postgresql/$version/bin/pg_config" --version)"
	in_root "$root" "PG_MAJOR=$version" "PG_CONFIG=/usr/lib/postgresql/$version/bin/pg_config" \
		TE_PATIENCE=3 "${settings[@]}" "${test_command[@]}" "$@"
}

install_server()
{
	in_root "$root" "PG_MAJOR=$1" /src/scripts/deps.sh servers
	shift
	[ $# -eq 0 ] || in_root "$root" apt-get -q -y install --no-install-recommends "$@"
}

# sanitize KINDS: for what is compiled from now on
sanitize()
{
	settings+=("TE_SANITIZE=$1")
}

leg_15()
{
	make_root 15
	copy_to_root "$root"
	sanitize undefined
	tests 15 unit regress isolation pgtap tap e2e chaos
}

leg_17()
{
	make_root 17
	copy_to_root "$root"
	install_server 17
	sanitize address,undefined
	# the library needs it to come first, before the server's own allocations; on 15
	# no server survives that
	wrap_server "$root" 17 "LD_PRELOAD=\$(gcc -print-file-name=libasan.so) \
exec -a \"\$0\" \"\$0.unwrapped\" \"\$@\""
	tests 17 unit regress isolation pgtap tap chaos
}

leg_18()
{
	make_root 18
	copy_to_root "$root"
	tests 18 regress isolation pgtap tap chaos
}

leg_valgrind()
{
	make_root 15
	copy_to_root "$root"
	install_server 15 valgrind
	settings+=(TE_PATIENCE=20)
	# the server is not built for it, so that what is undefined is not known
	wrap_server "$root" 15 "exec valgrind --quiet --trace-children=yes --undef-value-errors=no \
--leak-check=no --gen-suppressions=all --suppressions=/src/test/valgrind.supp \
--log-file=\"\${TE_REPORTS:-/tmp}/valgrind.%p\" \"\$0.unwrapped\" \"\$@\""
	tests 15 regress
}

# build VERSION: builds and installs, in $root, as a user does
build()
{
	install_server "$1"
	in_root "$root" sh -euc 'cd /src; make -j2 "PG_CONFIG=$1"; make install "PG_CONFIG=$1"' - \
		"/usr/lib/postgresql/$1/bin/pg_config"
}

# transplant FROM VERSION: that PostgreSQL, extension and all, into $root, whose C
# library is newer; with it come those of its libraries that $root does not have
transplant()
{
	local from=$1 version=$2 missing name
	local libraries=$root/usr/lib/postgresql/$version/libraries

	rm -rf "${root:?}/usr/lib/postgresql/$version" "${root:?}/usr/share/postgresql/$version"
	mkdir -p "$root/usr/lib/postgresql" "$root/usr/share/postgresql"
	cp -a "$from/usr/lib/postgresql/$version" "$root/usr/lib/postgresql/"
	cp -a "$from/usr/share/postgresql/$version" "$root/usr/share/postgresql/"
	# a server without it compiles no expressions, and does without the compiler's library
	rm -f "$root/usr/lib/postgresql/$version/lib/llvmjit.so"
	mkdir "$libraries"
	echo "/usr/lib/postgresql/$version/libraries" >"$root/etc/ld.so.conf.d/postgresql-$version.conf"
	for _ in {1..10}; do
		chroot "$root" ldconfig
		missing=$(chroot "$root" sh -c 'ldd /usr/lib/postgresql/'"$version"'/bin/* /usr/lib/postgresql/'"$version"'/lib/*.so \
			/usr/lib/postgresql/'"$version"'/libraries/* 2>/dev/null' | awk '/not found/ { print $1 }' | sort -u)
		[ -n "$missing" ] || return 0
		for name in $missing; do
			cp -L "$(find "$from/usr/lib" -name "$name" -print -quit)" "$libraries/"
		done
	done
	die "PostgreSQL $version does not run in $root: $missing"
}

leg_pg_upgrade()
{
	local version roots=() from

	for version in 15 17; do
		make_root "$version"
		copy_to_root "$root"
		build "$version"
		roots+=("$root")
	done
	make_root 18
	copy_to_root "$root"
	install_server 18
	for version in 15 17; do
		from=${roots[0]}
		roots=("${roots[@]:1}")
		transplant "$from" "$version"
	done
	settings+=(TE_UPGRADE_PATHS=/usr/lib/postgresql/15:/usr/lib/postgresql/17:/usr/lib/postgresql/18)
	tests 18 pg_upgrade
}

leg_upgrade()
{
	make_root 18
	copy_to_root "$root"
	test_command=(/src/scripts/upgrade.sh test)
	tests 18 regress isolation pgtap tap
}

# ---- all of it -------------------------------------------------------------------------

# run_leg NAME
run_leg()
{
	local leg=$1 log=$logs/$1.log begin=$SECONDS status=0 p=0 f=0 s=0 counts

	[ ! -t 1 ] || printf '%-10s ...\r' "$leg"
	rm -rf "${logs:?}/$leg"
	# -e does not hold in a condition, and what is mounted for a leg is its own
	unshare --mount --propagation private "$top/scripts/matrix.sh" --leg "$leg" >"$log" 2>&1 </dev/null || status=$?
	counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1) || true
	[ -z "$counts" ] || read -r p f s < <(tr -cd '0-9 \n' <<<"$counts")
	if [ "$status" -ne 0 ] && [ "$f" -eq 0 ] || [ $((p + f)) -eq 0 ]; then
		f=$((f + 1))
		echo "matrix.sh: exit status $status" >>"$log"
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	summary+=("$(printf '%-10s %8d %8d %8d %7ds   %s' "$leg" "$p" "$f" "$s" $((SECONDS - begin)) \
		"$(sed -n 's/^matrix.sh: runs on //p' "$log" | tail -n 1)")")
	printf '%-10s %s  %d passed, %d failed, %d skipped  (%d s)\n' "$leg" \
		"$([ "$f" -eq 0 ] && echo ok || echo FAILED)" "$p" "$f" "$s" $((SECONDS - begin))
	if [ "$f" -gt 0 ]; then
		{ grep -E ' FAILED |^    \|' "$log" || tail -n 40 "$log"; } | tail -n 60
		say "    the whole log: $log"
	fi
}

# The part that has the leg's own mounts.
one_leg()
{
	local status=0

	settings=() root='' test_command=(/src/scripts/test.sh)
	"leg_$1" & wait $! || status=$?
	exit "$status"
}

usage() { sed -n '/^# usage:/,/^$/p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//' >&2; exit 2; }

main()
{
	local leg fresh='' begin=$SECONDS

	case ${1:-} in
		--leg) one_leg "$2" ;;
		--inside) shift ;;
		*)
			[ "${1:-}" != --fresh ] || { fresh=1; shift; }
			for leg in "$@"; do
				case " ${all[*]} " in *" $leg "*) ;; *) usage ;; esac
			done
			[ "$(id -u)" = 0 ] || die "needs root, for debootstrap and chroot"
			command -v debootstrap >/dev/null || apt-get install -y -q debootstrap >/dev/null
			"$top/scripts/deps.sh" test
			mkdir -p "$logs" "$dir"
			exec 7>"$dir/.lock"
			flock -n 7 || die "another run uses $dir"
			[ -z "$fresh" ] || rm -rf --one-file-system "$dir"/bookworm "$dir"/trixie "$dir"/sid
			exec unshare --mount --pid --ipc --fork --kill-child --mount-proc --propagation private \
				"$top/scripts/matrix.sh" --inside "$@"
			;;
	esac
	[ $# -gt 0 ] || set -- "${all[@]}"
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	for leg in "$@"; do
		run_leg "$leg"
	done
	printf '\n%-10s %8s %8s %8s %8s\n' leg passed failed skipped time
	printf '%s\n' "${summary[@]}"
	printf '%-10s %35ds\n\n' total $((SECONDS - begin))
	say "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
}

# read before it begins, so that the script may change while it runs
main "$@"; exit
