#!/usr/bin/env bash
# Builds llama.cpp and its Python bindings from source, and prints the folder for PYTHONPATH:
# llamacpp.sh VENV. Built once; it takes ten minutes on two cores, a C++ compiler and a network.
#
# For any processor of x86-64 with AVX2: what is built here may be kept and run elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1/bin
wanted=("llama-cpp-python==0.3.36" "gguf==0.19.0" "diskcache==5.6.3")
tag=$("$bin/python" -c 'import sys; print(sys.implementation.cache_tag)')
out=$PWD/build/llamacpp/$tag-$(printf '%s\n' "${wanted[@]}" | sha256sum | cut -c1-16)
if [ ! -e "$out/done" ]; then
    echo "building llama.cpp (ten minutes, once)" >&2
    rm -rf build/llamacpp
    CMAKE_ARGS="-DGGML_NATIVE=OFF" CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) \
        "$bin/pip" install --quiet --no-deps --target "$out" "${wanted[@]}" >&2 || {
        echo "llama.cpp was not built: is there a C++ compiler?" >&2
        exit 1
    }
    touch "$out/done"
fi
echo "$out"
