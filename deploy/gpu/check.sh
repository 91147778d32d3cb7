#!/usr/bin/env bash
# The golden tests and a first timing on a machine with an NVIDIA card, without network and without a Rust toolchain.
#
#     deploy/gpu/check.sh BINARY LIBRARIES GOLDENS [RESULTS]
#
# BINARY     a rewardrt built with the CUDA provider
# LIBRARIES  a folder with libonnxruntime.so and its providers (whole, or as NAME.xz.part-* pieces), cuBLAS, cuDNN, ...
# GOLDENS    a folder of golden models, such as tests/golden/qwen3_vl
# RESULTS    a folder for CARD.json and what each run printed (default: results)
#
# Set PROVIDER to check another provider than cuda, and PRECISION for another than fp16.
set -euo pipefail

[ $# -ge 3 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
binary=$(realpath "$1") libraries=$(realpath "$2") goldens=$(realpath "$3") results=${4:-results}
provider=${PROVIDER:-cuda} precision=${PRECISION:-fp16}
here=$(dirname "$(realpath "$0")")

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Links to what is whole, and the pieces joined beside them: ONNX Runtime looks for its providers in its own folder.
mkdir "$scratch/lib"
find "$libraries" -type f,l -name '*.so*' ! -name '*.part-*' -exec ln -s -t "$scratch/lib" {} +
for first in "$libraries"/*.xz.part-*; do
    [ -e "$first" ] || continue
    name=$(basename "${first%.xz.part-*}")
    [ -e "$scratch/lib/$name" ] || cat "$libraries/$name".xz.part-* | xz -dc >"$scratch/lib/$name"
done
[ -e "$scratch/lib/libonnxruntime.so" ] || { echo "check: no libonnxruntime.so in $libraries" >&2; exit 2; }
export ORT_DYLIB_PATH=$scratch/lib/libonnxruntime.so ORT_DISABLE_TELEMETRY=1
export LD_LIBRARY_PATH=$scratch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

card=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)
mkdir -p "$results"
"$binary" doctor --json >"$results/doctor.json" || echo "check: doctor found problems, see doctor.json" >&2

for model in "$goldens"/*/; do
    name=$(basename "$model")
    "$binary" export "$model/checkpoint" --out "$scratch/$name" --precision "$precision" --quiet
    for messages in "$model"/cases/*/messages.json; do
        case=$(basename "$(dirname "$messages")")
        # Twice: the second run has the card warm and the library in the page cache.
        for run in cold warm; do
            "$binary" generate --model "$scratch/$name" --provider "$provider" --messages "$messages" \
                --max-new-tokens 24 --json --quiet >"$results/$name.$case.$run.json" || true
        done
    done
done

python3 "$here/compare.py" "$goldens" "$results" "$card" "$driver" "$provider" "$precision"
