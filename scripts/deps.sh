#!/usr/bin/env bash
# Installs what the tests need beyond Go. Idempotent: what is there is left alone. It never starts a
# system service. Each entry says why it is needed.
set -euo pipefail

# "debian package|program that it brings|why"
packages=(
	"chromium|chromium|the tests of load reports look at them in a browser"
	"gcc|gcc|the worker of ONNX models calls a C library; the race detector needs it too"
	"npm|npm|the library itself, ONNX Runtime, comes in an npm package"
	"python3-venv|python3|the tests of the Open Inference Protocol call the server with other people's clients, which are Python packages"
)

missing=()
for entry in "${packages[@]+"${packages[@]}"}"; do
	IFS='|' read -r package program why <<<"$entry"
	if ! command -v "$program" >/dev/null; then
		echo "deps: $package is missing: $why"
		missing+=("$package")
	fi
done

if ! command -v go >/dev/null; then
	echo "deps: Go 1.26 or newer is needed; see https://go.dev/doc/install" >&2
	exit 1
fi
# Into the user's cache, not into the system.
clients() { "$(dirname "$0")/clients.sh" >/dev/null && "$(dirname "$0")/onnx.sh" >/dev/null; }
if ((${#missing[@]} == 0)); then
	clients
	echo "deps: nothing to install with apt"
	exit 0
fi
command=(apt-get install -y --no-install-recommends "${missing[@]}")
if [[ $(id -u) != 0 ]]; then
	echo "deps: run as root, then try again:  apt-get update && ${command[*]}" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
# Debian starts a service when its package is installed, unless this policy forbids it.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
"${command[@]}"
clients
