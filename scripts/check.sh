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

formatted() {
	local bad
	bad=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
	[[ -z $bad ]] || { echo "not formatted, run gofmt -w on:" && echo "$bad" && return 1; }
}

tidy() {
	local m
	for m in "${modules[@]}" bench; do
		(cd "$m" && go mod tidy -diff) || { echo "go.mod of $m is not tidy" && return 1; }
	done
}

# The offline database is used where it lies beside the checkout; else the published one is asked.
vulnerabilities() {
	local db=() archive
	for archive in ../shared/data/vulndb/*.tar.gz; do
		if [[ -f $archive ]]; then
			vulndb=$(mktemp -d)
			trap 'rm -rf "$vulndb"' RETURN
			tar -xzf "$archive" -C "$vulndb"
			local index
			index=$(find "$vulndb" -type d -name index | head -1)
			db=(-db "file://$(dirname "$index")")
		fi
	done
	each_module go run "$govulncheck" "${db[@]}" ./...
}

shell_scripts() {
	local f
	while read -r f; do bash -n "$f" || return 1; done < <(git ls-files -co --exclude-standard '*.sh')
}

gate "gofmt" formatted
gate "go vet" each_module go vet ./...
gate "staticcheck" each_module go run "$staticcheck" ./...
gate "tidy go.mod files" tidy
gate "arch rules" go test -count=1 .
gate "race detector" each_module go test -race ./...
gate "without cgo" env CGO_ENABLED=0 go build -o /dev/null ./cmd/dougong
gate "known vulnerabilities" vulnerabilities
gate "dead links in docs" go run ./scripts/deadlinks .
gate "shell syntax" shell_scripts

if ((${#failed[@]})); then
	printf 'check: failed: %s\n' "${failed[@]}" >&2
	exit 1
fi
echo "check: all gates passed"
