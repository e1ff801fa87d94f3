#!/usr/bin/env bash
# Installs what test/cluster needs of Debian: containerd, runc, the CNI plugins and nft. Idempotent: what is there is left
# alone, and no service is started; the cluster runs its own containerd in a namespace of its own. With --check nothing
# is installed: it exits with 1 if something is missing.
set -euo pipefail

# "debian package|a program that it brings|why"
packages=(
	"containerd|/usr/bin/containerd|kubelets run their pods with it"
	"runc|/usr/sbin/runc|containerd starts containers with it"
	"containernetworking-plugins|/usr/lib/cni/bridge|containerd gives pods their addresses with them"
	"nftables|/usr/sbin/nft|kube-proxy writes its rules with it"
	"util-linux|/usr/bin/unshare|the cluster lives in namespaces"
	"iproute2|/usr/sbin/ip|the nodes' addresses"
)

missing=()
for entry in "${packages[@]}"; do
	IFS='|' read -r package program why <<<"$entry"
	if [[ ! -x $program ]]; then
		echo "cluster: $package is missing: $why" >&2
		missing+=("$package")
	fi
done
((${#missing[@]})) || exit 0
command=(apt-get install -y --no-install-recommends "${missing[@]}")
if [[ ${1:-} == --check ]]; then
	echo "cluster: install them as root:  apt-get update && ${command[*]}" >&2
	exit 1
fi
command -v apt-get >/dev/null || {
	echo "cluster: there is no apt-get here; install ${missing[*]} in your system's way" >&2
	exit 1
}
if [[ $(id -u) != 0 ]]; then
	echo "cluster: run as root, then try again:  apt-get update && ${command[*]}" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update >&2
# Debian starts a service when its package is installed, unless this policy forbids it.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
"${command[@]}" >&2
