#!/usr/bin/env bash
# Installs the clients of other people that test/triton calls the server with, and prints the folder they are in:
#   bin/python          has tritonclient and kserve, as test/triton/requirements.txt pins them with the hash of each file
#   bin/perf_analyzer   Triton's load generator
# The folder is one in the user's cache, named for what is in it; an older one may be deleted. Nothing of the system is
# changed, and what is there is left alone. With --check nothing is installed: it exits with 1 if something is missing.
#
# perf_analyzer is built for glibc 2.38. Where the system's is older, that of a newer Debian is unpacked beside the
# program (not installed), with the libraries that it names, and that glibc's own loader runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

newer=trixie # has glibc 2.41
libraries=(libc6 libstdc++6 libgcc-s1 libssl3t64 zlib1g libzstd1)

say() { echo "clients: $*" >&2; }
fail() {
	say "$@"
	exit 1
}

command -v python3 >/dev/null || fail "python3 is needed: the clients are Python packages"
key=$({ cat scripts/clients.sh test/triton/requirements.txt test/triton/perf_analyzer.txt && python3 --version && getconf GNU_LIBC_VERSION; } | sha256sum | cut -c1-12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/dougong/clients-$key
if [[ -e $dir/ready ]]; then
	echo "$dir"
	exit 0
fi
[[ ${1:-} != --check ]] || fail "the clients of test/triton are not installed; run make deps"

mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9
if [[ -e $dir/ready ]]; then # by who had the lock
	echo "$dir"
	exit 0
fi
say "installing tritonclient, kserve and perf_analyzer into $dir, for the tests that call the server as others do"
rm -rf "$dir"
python3 -m venv "$dir" || fail "python3 has no venv (Debian: apt-get install python3-venv)"
"$dir/bin/pip" install --quiet --only-binary=:all: --require-hashes -r test/triton/requirements.txt >&2

# pip would not install a program for another glibc, and cannot run it; it fetches and checks it.
"$dir/bin/pip" download --quiet --no-deps --only-binary=:all: --platform "manylinux_2_38_$(uname -m)" \
	--require-hashes -r test/triton/perf_analyzer.txt -d "$dir/wheels" >&2
"$dir/bin/python" -m zipfile -e "$dir"/wheels/perf_analyzer-*.whl "$dir/perf"
rm -r "$dir/wheels"
program=$dir/perf/perf_analyzer/bin/perf_analyzer
chmod +x "$program"

# newer_libraries unpacks $newer's libraries into $dir/libraries, through an apt of our own: it has the system's mirror
# and keys, but lists of its own, and takes nothing for installed.
newer_libraries() {
	local apt=$dir/apt site deb options
	command -v apt-get >/dev/null || fail "perf_analyzer needs glibc 2.38, or a Debian to take a newer one from"
	site=$(apt-get update --print-uris | sed -n "s|^'\(.*/debian\)/dists/.*|\1|p" | sort -u | sed -n 1p)
	[[ -n $site ]] || fail "apt-get names no Debian mirror to take glibc from"
	mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,debs}
	: >"$apt/status"
	echo "deb $site $newer main" >"$apt/sources.list"
	options=(
		-o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State="$apt/state"
		-o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" -o Acquire::Languages=none -o Acquire::Retries=3
		-o APT::Sandbox::User= -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
	)
	apt-get -qq "${options[@]}" update >&2
	(cd "$apt/debs" && apt-get -qq "${options[@]}" download "${libraries[@]}" >&2)
	for deb in "$apt"/debs/*.deb; do dpkg-deb -x "$deb" "$apt/root"; done
	mkdir "$dir/libraries"
	cp -a "$apt"/root/usr/lib/*-linux-gnu/*.so* "$dir/libraries/"
	rm -r "$apt"
}

glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
if [[ $(printf '%s\n' 2.38 "$glibc" | sort -V | head -1) == 2.38 ]]; then
	ln -s "$program" "$dir/bin/perf_analyzer"
else
	newer_libraries
	loader=$(basename "$dir"/libraries/ld-linux-*)
	cat >"$dir/bin/perf_analyzer" <<-END
		#!/bin/sh
		exec "$dir/libraries/$loader" --library-path "$dir/libraries" "$program" "\$@"
	END
	chmod +x "$dir/bin/perf_analyzer"
fi
"$dir/bin/perf_analyzer" --version >/dev/null || fail "perf_analyzer does not run"
# Each in a process of its own: both bring the protocol's messages under the same names.
for module in tritonclient.http tritonclient.grpc kserve; do
	"$dir/bin/python" -c "import $module" || fail "$module does not load"
done
touch "$dir/ready"
echo "$dir"
