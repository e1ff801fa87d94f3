#!/usr/bin/env bash
# Fetches ONNX Runtime's shared library, which cmd/dougong-onnx-worker loads, and prints the folder that it is in:
#   libonnxruntime.so                     the library
#   libonnxruntime_providers_shared.so    if the package has it: what providers other than the CPU's need
# It comes in the npm package onnxruntime-node, from whichever registry npm is set up for, and must have the hash below;
# nothing of the package is run. The folder is one in the user's cache, named for what is in it; an older one may be
# deleted. With --check nothing is fetched: it exits with 1 if something is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

package=onnxruntime-node
version=1.30.0
sha512=b7086cd42d82fc1164cf5c9ce4e634288536194aba0d444eee10f86f1e50d90cb79c0309c115d6f31537355733136f5503d96894b3987a9a03f1f8d318e7c8ab

say() { echo "onnx: $*" >&2; }
fail() {
	say "$@"
	exit 1
}

[[ $(uname -s) == Linux ]] || fail "there is a library for Linux here only; elsewhere install ONNX Runtime $version and set ORT_LIBRARY to its library"
case $(uname -m) in
x86_64) arch=x64 ;;
aarch64 | arm64) arch=arm64 ;;
*) fail "$package has no library for $(uname -m); build ONNX Runtime $version and set ORT_LIBRARY to its library" ;;
esac
key=$({ cat scripts/onnx.sh && echo "$arch"; } | sha256sum | cut -c1-12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/dougong/onnxruntime-$key
if [[ -e $dir/ready ]]; then
	echo "$dir"
	exit 0
fi
[[ ${1:-} != --check ]] || fail "ONNX Runtime is not here; run make install-onnx"
command -v npm >/dev/null || fail "npm is needed to fetch $package (Debian: apt-get install npm); or install ONNX Runtime $version otherwise and set ORT_LIBRARY to its library"

mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9
if [[ -e $dir/ready ]]; then # by who had the lock
	echo "$dir"
	exit 0
fi
say "fetching $package@$version (110 MB) with npm, for the library in it, into $dir"
rm -rf "$dir"
mkdir "$dir"
trap '[[ -e $dir/ready ]] || rm -rf "$dir"' EXIT
(cd "$dir" && npm pack --silent --ignore-scripts "$package@$version" >/dev/null) || fail "npm cannot fetch $package@$version; npm ping says whether it reaches its registry"
tarball=$dir/$package-$version.tgz
[[ -f $tarball ]] || fail "npm pack left no $package-$version.tgz"
echo "$sha512  $tarball" | sha512sum --check --quiet --strict >/dev/null 2>&1 ||
	fail "$package@$version has another SHA-512 than the pinned one: $(sha512sum <"$tarball" | cut -d' ' -f1); it is not used"
within=package/bin/napi-v6/linux/$arch
tar -xzf "$tarball" -C "$dir" --strip-components=5 --no-same-owner --wildcards "$within/libonnxruntime*"
rm "$tarball"
mv "$dir"/libonnxruntime.so.[0-9]* "$dir/libonnxruntime.so"
chmod 644 "$dir"/*.so
touch "$dir/ready"
echo "$dir"
