# SPDX-License-Identifier: MIT
# Sourced by the tools beside it: installs what is missing, says so first, and
# builds in build/. Expects $top to be the source tree.

# What to build with, to test with, and to run tools/lab with, as Debian and
# Ubuntu call it.
build_packages="gcc make autoconf automake libtool pkg-config linux-libc-dev libc6-dev
	libevent-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libinih-dev
	libjson-c-dev libsystemd-dev python3 python3-protobuf seabios"
test_packages="libcmocka-dev python3-pytest binutils linux-perf groff acpica-tools strace"
lab_packages="qemu-system-x86 gcc libc6-dev"

missing_packages() {
	for package in "$@"; do
		dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
			printf '%s ' "$package"
	done
}

# setup_packages PACKAGE…: installs those that are missing, or says which.
setup_packages() {
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		[ -n "${KVMCPUD_NO_SETUP:-}" ] || echo "This is no Debian or Ubuntu: if the build fails, install what these packages hold: $*" >&2
		return 0
	fi
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" = 0 ]; then as_root=; elif command -v sudo >/dev/null; then as_root=sudo; else
		echo "These packages are missing, and installing them needs root: apt-get install $missing" >&2
		return 69
	fi
	echo "Installing packages: $missing" >&2
	{ $as_root apt-get update -q && $as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends $missing; } >"$top/build/setup.log" 2>&1 || {
		tail -n 5 "$top/build/setup.log" >&2
		echo "apt-get failed; its whole output is in build/setup.log" >&2
		return 69
	}
}

# run_logged NAME COMMAND…: quiet unless it fails.
run_logged() {
	log=$top/build/$1.log
	shift
	"$@" >"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		echo "failed: $*; the whole output is in $log" >&2
		return 70
	}
}

# setup_build [CONFIGURE OPTION …]: configure where needed, and make.
setup_build() {
	if [ ! -x "$top/configure" ] || [ ! -f "$top/Makefile.in" ]; then
		echo "Preparing configure" >&2
		run_logged autogen "$top/autogen.sh" || return
	fi
	if [ ! -f "$top/build/config.status" ] || [ "$top/configure" -nt "$top/build/config.status" ]; then
		echo "Configuring" >&2
		run_logged configure sh -c 'cd "$1/build" && shift && ../configure "$@"' sh "$top" "$@" || return
	fi
	echo "Building" >&2
	run_logged make make -C "$top/build" -j"$(nproc)"
}

# python_of_build: the interpreter that configure found to have protobuf.
python_of_build() {
	sed -n 's/^PYTHON = //p' "$top/build/Makefile"
}
