#!/usr/bin/env bash
# The gates that a change must pass. Runs all of them and names those that failed.
set -uo pipefail
staticcheck=$1
govulncheck=$2
cd "$(dirname "$0")/.."
modules=(kit adapters .)
failed=()

gate() {
	local name=$1
	shift
	echo "== $name"
	"$@" || failed+=("$name")
}

each_module() {
	local m
	for m in "${modules[@]}"; do
		(cd "$m" && "$@") || return 1
	done
}

# bench may use cgo, and then needs a C compiler.
bench_vet() {
	if ! command -v "$(go env CC)" >/dev/null; then
		echo "bench needs a C compiler: not looked at"
		[[ -z ${CI:-} ]]
		return
	fi
	(cd bench && go vet ./...)
}

# Modules of their own, since registries' and Kubernetes' types are in them.
deployed() {
	[[ $(id -u) != 0 ]] || test/cluster/install.sh || return 1 # a containerd, to ask whether it takes the image
	(cd deploy/image && go vet ./... && go run "$staticcheck" ./... && go test ./...) && (cd deploy/manifests && go vet ./... && go run "$staticcheck" ./... && go test ./...)
}

# Building Kubernetes takes minutes, so the cluster itself is only asked where that was done before, and for the demo alone:
# the others measure, and want the machine for themselves. `make test-cluster` and `make nightly` do all of it, everywhere.
cluster() {
	(
		cd test/cluster && go vet ./... && go run "$staticcheck" ./... && go test -short ./... || exit 1
		[[ $(id -u) == 0 ]] && go run ./cmd/cluster build -check 2>/dev/null || exit 0
		make -C ../.. image && go test -count=1 -timeout 10m -run Demo ./product
	)
}

formatted() {
	local files bad
	files=$(git ls-files -co --exclude-standard '*.go') && [[ -n $files ]] || return 1
	bad=$(xargs -d '\n' gofmt -l <<<"$files") || return 1
	[[ -z $bad ]] || { echo "not formatted, run gofmt -w on:" && echo "$bad" && return 1; }
}

tidy() {
	local m
	for m in "${modules[@]}" bench deploy/image deploy/manifests test/cluster; do
		(cd "$m" && go mod tidy -diff) || { echo "go.mod of $m is not tidy" && return 1; }
	done
}

# The offline database is used where it lies beside the checkout; else the published one is asked.
vulnerabilities() {
	local db=() archives index result
	archives=(../shared/data/vulndb/*.tar.gz)
	if [[ -f ${archives[-1]} ]]; then
		vulndb=$(mktemp -d) || return 1
		tar -xzf "${archives[-1]}" -C "$vulndb" || return 1
		index=$(find "$vulndb" -type d -name index -print -quit)
		db=(-db "file://$(dirname "$index")")
	fi
	each_module go run "$govulncheck" "${db[@]}" ./...
	result=$?
	rm -rf "${vulndb:-}"
	return $result
}

# The race detector is the one gate that needs a C compiler. In CI it must be there.
race() {
	if ! command -v "$(go env CC)" >/dev/null; then
		echo "the race detector needs a C compiler: install gcc (Debian: apt-get install gcc libc6-dev)"
		[[ -z ${CI:-} ]]
		return
	fi
	# Those from outside one at a time: each has processes and real engines that need the machine.
	local inside
	inside=$(go list ./... | grep -v /dougong/test/) || return 1
	export CGO_ENABLED=1
	(cd kit && go test -race -short ./...) && (cd adapters && go test -race -short ./...) &&
		xargs go test -race -short <<<"$inside" && go test -race -short -p 1 ./test/...
}

# What build tags change is looked at with them: no fault points at all, and pools that find misuse.
tags() {
	(cd kit && go vet -tags dougong_nofault ./... && go test -short -tags dougong_nofault ./fault/... && go test -short -tags dougong_pooldebug ./pool/...) &&
		(cd adapters && go vet -tags dougong_nofault ./...) &&
		go vet -tags dougong_nofault ./... && go build -tags dougong_nofault -o /dev/null ./cmd/dougong &&
		go test -short -tags dougong_nofault ./internal/app ./internal/httpserver &&
		go test -short -tags dougong_pooldebug ./services/inference && go test -short -tags noasm ./services/inference/oip
}

# Memory of C: who frees it twice, uses it after that, or never frees it.
addresses() {
	(cd adapters && CGO_ENABLED=1 go test -asan ./cguard/...) && CGO_ENABLED=1 go test -asan -short ./cmd/dougong-onnx-worker
}

shell_scripts() {
	local files f
	files=$(git ls-files -co --exclude-standard '*.sh' .ci/run) && [[ -n $files ]] || return 1
	while read -r f; do bash -n "$f" || return 1; done <<<"$files"
}

gate "gofmt" formatted
gate "go vet" each_module go vet ./...
gate "go vet of bench" bench_vet
gate "generated code" go run ./scripts/protogen -check api
gate "image and manifests" deployed
gate "cluster" cluster
gate "staticcheck" each_module go run "$staticcheck" ./...
gate "tidy go.mod files" tidy
gate "arch rules" go test -count=1 .
gate "build tags" tags
gate "race detector" race
gate "address sanitiser" addresses
gate "without cgo" env CGO_ENABLED=0 go build -o /dev/null ./cmd/dougong
gate "known vulnerabilities" vulnerabilities
gate "dead links in docs" go run ./scripts/deadlinks .
gate "shell syntax" shell_scripts

if ((${#failed[@]})); then
	printf 'check: failed: %s\n' "${failed[@]}" >&2
	exit 1
fi
echo "check: all gates passed"
