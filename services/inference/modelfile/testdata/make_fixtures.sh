#!/bin/sh
# Makes every fixture again: one virtual environment for each release of a library, in a temporary
# directory that is removed at the end. Python 3.11; about 2 GB of downloads.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make_with() { # release, then what it needs beside itself (xgboost's own list pulls in CUDA)
	release=$1
	shift
	python3 -m venv "$work/venv"
	"$work/venv/bin/pip" --quiet install "$@"
	"$work/venv/bin/pip" --quiet install --no-deps "$release"
	"$work/venv/bin/python" "$here/make_fixtures.py" "$here"
	rm -rf "$work/venv"
}

make_with xgboost==1.0.2 'numpy<1.24' 'scipy<1.12'
make_with xgboost==1.7.6 'numpy<2' 'scipy<1.13'
make_with xgboost==2.1.4 'numpy<2' 'scipy<1.13'
make_with xgboost==3.0.5 'numpy<2' 'scipy<1.13'
make_with xgboost==3.2.0 'numpy<2' 'scipy<1.13'
make_with lightgbm==2.2.3 'numpy<1.24' 'scipy<1.12' 'scikit-learn<1.4'
make_with lightgbm==3.3.5 'numpy<2' 'scipy<1.13' 'scikit-learn<1.5' 'pandas<2.3'
make_with lightgbm==4.7.0 'numpy<2' 'scipy<1.13' 'scikit-learn<1.5' 'pandas<2.3' narwhals
