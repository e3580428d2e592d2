#!/usr/bin/env bash
# Makes the environment of the prefix tree's peer: setup.sh [FOLDER, default .peers/radix]. SGLang itself without what it
# depends on, which its tree doesn't need: peer_sglang.py stands in for it. With a CPU build of torch where TORCH_INDEX_URL
# names an index that has one.
set -euo pipefail
folder="${1:-.peers/radix}"
python="${PYTHON:-python3}"

"$python" -m venv "$folder"
pip=("$folder/bin/python" -m pip install)
"${pip[@]}" -U pip
"${pip[@]}" ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch==2.13.0
"${pip[@]}" numpy
"${pip[@]}" --no-deps sglang==0.5.23
