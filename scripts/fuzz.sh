#!/usr/bin/env bash
# Runs each fuzz target of each module for the time given, one after another.
set -euo pipefail
time=$1
cd "$(dirname "$0")/.."
for m in kit adapters .; do
	(
		cd "$m"
		git ls-files -co --exclude-standard '*_test.go' | while read -r file; do
			# A nested module's files are listed from the root too; they have their own turn.
			if [[ $m == . && ($file == kit/* || $file == adapters/* || $file == bench/*) ]]; then continue; fi
			for target in $(grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | cut -c6-); do
				echo "== fuzz $m/$(dirname "$file") $target"
				go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "./$(dirname "$file")"
			done
		done
	)
done
