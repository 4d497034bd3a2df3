#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes configure from configure.ac; needed once in a fresh clone.
set -e
cd "$(dirname "$0")"
for tool in autoreconf automake libtoolize pkg-config; do
	command -v "$tool" >/dev/null || {
		echo "autogen.sh: $tool is missing (Debian: apt-get install autoconf automake libtool pkg-config)" >&2
		exit 69
	}
done
exec autoreconf --install --force
