#!/usr/bin/env bash
# Installs MLServer with its runtime for XGBoost, which `make bench-serve` measures beside the server, and prints the folder
# it is in: bin/mlserver. All that it needs is pinned, with the hash of each file, in bench/serve/mlserver/requirements.txt.
# The folder is one in the user's cache, of 700 MB, named for what is in it; an older one may be deleted. Nothing of the
# system is changed, and what is there is left alone. With --check nothing is installed: it exits with 1 if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "mlserver: $*" >&2; }
fail() {
	say "$@"
	exit 1
}

command -v python3 >/dev/null || fail "python3 is needed: MLServer is a Python package"
key=$({ cat scripts/mlserver.sh bench/serve/mlserver/requirements.txt && python3 --version; } | sha256sum | cut -c1-12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/dougong/mlserver-$key
if [[ -e $dir/ready ]]; then
	echo "$dir"
	exit 0
fi
[[ ${1:-} != --check ]] || fail "MLServer is not installed: scripts/mlserver.sh installs it"

mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9
if [[ -e $dir/ready ]]; then # by who had the lock
	echo "$dir"
	exit 0
fi
say "installing MLServer into $dir, for the bench; it takes minutes"
rm -rf "$dir"
python3 -m venv "$dir" || fail "python3 has no venv (Debian: apt-get install python3-venv)"
# The list is whole but for what it leaves out on purpose, which --no-deps keeps out.
"$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
	-r bench/serve/mlserver/requirements.txt >&2
for module in mlserver mlserver_xgboost; do
	"$dir/bin/python" -c "import $module" || fail "$module does not load"
done
touch "$dir/ready"
echo "$dir"
