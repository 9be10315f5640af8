#!/usr/bin/env bash
# Compiles and installs the extension for other PostgreSQL versions, each in a Debian chroot of its own made by
# debootstrap, with warnings as errors.
#
#   scripts/matrix.sh [17|18]...      (default: 17 18; needs root)
#
# The chroots are kept in TE_MATRIX_DIR (default: /var/tmp/todo_events-matrix), about 1 GB each.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${TE_MATRIX_DIR:-/var/tmp/todo_events-matrix}
[ $# -gt 0 ] || set -- 17 18
[ "$(id -u)" = 0 ] || { echo "scripts/matrix.sh: needs root for debootstrap" >&2; exit 2; }
command -v debootstrap >/dev/null || apt-get install -y -q debootstrap >/dev/null

suite_of() {
	case $1 in
		17) echo trixie ;;
		18) echo sid ;;
		*) echo "scripts/matrix.sh: no Debian suite known for PostgreSQL $1" >&2; exit 2 ;;
	esac
}

mounted=
trap '[ -z "$mounted" ] || umount "$mounted"' EXIT

failed=0
for version in "$@"; do
	suite=$(suite_of "$version")
	root=$dir/$suite
	if [ ! -e "$root/.complete" ]; then
		mkdir -p "$dir"
		rm -rf --one-file-system "$root"
		debootstrap --variant=minbase \
			--include="build-essential,ca-certificates,pkg-config,libssl-dev,zlib1g-dev,libsasl2-dev,librdkafka-dev,libipc-run-perl" \
			"$suite" "$root" >"$dir/$suite.debootstrap.log"
		# no cluster of its own, no service
		printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
		chmod +x "$root/usr/sbin/policy-rc.d"
		mkdir -p "$root/etc/postgresql-common"
		echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
		# some packages' scripts look at their processes
		mount -t proc proc "$root/proc"
		mounted=$root/proc
		DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y -q --no-install-recommends \
			"postgresql-server-dev-$version" >"$dir/$suite.apt.log"
		umount "$mounted"
		mounted=
		touch "$root/.complete"
	fi
	rm -rf "$root/src"
	mkdir -p "$root/src"
	git ls-files -z | xargs -0 cp --parents -t "$root/src"
	log=$dir/$suite.build.log
	if chroot "$root" sh -c "cd /src && make -j2 TE_CFLAGS='-Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers' \
		PG_CONFIG=/usr/lib/postgresql/$version/bin/pg_config && make install PG_CONFIG=/usr/lib/postgresql/$version/bin/pg_config" >"$log" 2>&1; then
		echo "PostgreSQL $version ($suite): compiles and installs"
	else
		echo "PostgreSQL $version ($suite): FAILED, see $log"
		grep -E ': (fatal )?(error|warning):|\*\*\*' "$log" | head -20
		failed=1
	fi
done
exit $failed
