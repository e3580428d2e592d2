#!/usr/bin/env bash
# Makes the environment of the grammar peers: setup.sh [FOLDER, default .peers/grammar]. With a CPU build of torch, which
# xgrammar imports, where TORCH_INDEX_URL names an index that has one. mistral-common is there for its vocabulary.
set -euo pipefail
folder="${1:-.peers/grammar}"
python="${PYTHON:-python3}"

"$python" -m venv "$folder"
pip=("$folder/bin/python" -m pip install)
"${pip[@]}" -U pip
"${pip[@]}" ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch==2.13.0
"${pip[@]}" llguidance==1.9.1 xgrammar==0.2.8 mistral-common==1.13.1
