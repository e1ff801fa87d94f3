#!/bin/bash
# Installs the engines that bench/inference runs against into bench/peers, which git ignores.
# It may be run again: what is there stays. oneDAL is named and left out if it does not build.
#
#   libxgboost-dev (Debian)      XGBoost 1.7.4, the version that trained the models; needs root
#   xgboost (PyPI)               the current XGBoost
#   onnxruntime (PyPI)           libonnxruntime.so, for the ONNX form of the same trees
#   treelite, tl2cgen (PyPI)     turn a model into if/else in C, which gcc -O3 compiles
#   daal, daal-devel, daal-include, tbb (PyPI)   oneDAL
set -euo pipefail
cd "$(dirname "$0")"
peers=$PWD/peers
model=$PWD/../examples/models/loan-default/1/model.json
mkdir -p "$peers/bin"

need() { # command, Debian package
	command -v "$1" >/dev/null && return
	echo "setup-peers: $1 is missing: apt-get install $2" >&2
	exit 1
}
need gcc gcc
need g++ g++
need python3 python3-venv

debian=$(find /usr/lib -name 'libxgboost.so.0' 2>/dev/null | head -1)
if [ -z "$debian" ]; then
	install="apt-get install -y --no-install-recommends libxgboost-dev"
	if [ "$(id -u)" != 0 ]; then
		echo "setup-peers: XGBoost 1.7.4 comes from Debian 12 and needs root: sudo $install" >&2
		exit 1
	fi
	apt-get update -qq
	$install
	debian=$(find /usr/lib -name 'libxgboost.so.0' | head -1)
fi
ln -sfn "$debian" "$peers/libxgboost-1.7.so"

python=$peers/venv/bin/python
[ -x "$python" ] || python3 -m venv "$peers/venv"
if [ ! -e "$peers/venv/complete" ]; then
	"$python" -m pip install -q treelite==4.8.1 tl2cgen==1.0.0 'tbb>=2022'
	# Of these just the libraries: what they would bring for Python is not needed.
	"$python" -m pip install -q --no-deps onnxruntime==1.30.0 xgboost==3.2.0 daal==2026.2.0 daal-devel==2026.2.0 \
		daal-include==2026.2.0
	touch "$peers/venv/complete"
fi
packages=$(echo "$peers"/venv/lib/python3*/site-packages)
ln -sfn "$packages/xgboost/lib/libxgboost.so" "$peers/libxgboost-current.so"
ln -sfn "$(ls "$packages"/onnxruntime/capi/libonnxruntime.so.* | head -1)" "$peers/libonnxruntime.so"

if [ ! -e "$peers/tl2cgen/main.c" ]; then
	"$python" inference/peer/generate.py "$model" "$peers/tl2cgen" >/dev/null
fi
cd inference/peer
gcc -O3 -o "$peers/bin/xgboost" xgboost.c -ldl
[ -e "$peers/bin/tl2cgen" ] ||
	gcc -O3 -I"$peers/tl2cgen" -o "$peers/bin/tl2cgen" tl2cgen.c "$peers/tl2cgen/main.c" -lm
g++ -O3 -std=c++17 -w -isystem "$peers/venv/include" -isystem "$peers/venv/include/dal" -o "$peers/bin/onedal" onedal.cpp \
	-L"$peers/venv/lib" -l:libonedal_core.so.4 -l:libonedal_thread.so.4 -Wl,-rpath,"$peers/venv/lib",--disable-new-dtags ||
	echo "setup-peers: oneDAL does not build here; the bench leaves it out" >&2
echo "setup-peers: done" >&2
