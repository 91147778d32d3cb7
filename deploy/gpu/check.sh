#!/usr/bin/env bash
# Everything that is to be known of a machine with an NVIDIA card, by one command, without network and without Rust.
#
#     deploy/gpu/check.sh BINARY LIBRARIES [RESULTS]
#
# BINARY     a rewardrt of this tree (cargo build --release -p rewardrt-cli)
# LIBRARIES  a folder with libonnxruntime.so and its providers (whole, or as NAME.xz.part-* pieces), cuBLAS, cuDNN, ...
# RESULTS    a folder for what each run printed (default: benches/results/gpu)
#
# Four parts: the golden chats on the card, where each node runs, speed and memory at real sizes with random weights made
# on the spot, and the same with torch and transformers where python3 has them, with the card's own limits. It ends with
# benches/results/gpu-CARD.json, a table in benches/README.md, and exit code 0 when all goldens passed.
#
# PROVIDER   another provider than cuda, such as tensorrt,cuda
# SIZES      sizes to measure (default "2b 8b"; empty for none), PRECISIONS their precisions (default "bf16 int4")
# TOKENIZER  a folder with a tokenizer.json of the published vocabulary; without it a token is a byte
# WORK       a folder for checkpoints and packages, 45 GB for 8b (default: a temporary one)
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,19s/^# \{0,1\}//p' "$0"; exit 2; }
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
binary=$(realpath "$1") libraries=$(realpath "$2")
mkdir -p "${3:-$root/benches/results/gpu}"
results=$(realpath "${3:-$root/benches/results/gpu}")
export PROVIDER=${PROVIDER:-cuda} SIZES=${SIZES-2b 8b} PRECISIONS=${PRECISIONS:-bf16 int4} TOKENIZER=${TOKENIZER:-}

scratch=$(mktemp -d ${WORK:+-p "$WORK"})
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
# What torch brought is of use here too: the CUDA wheels put their libraries into site-packages/nvidia.
wheels=$(python3 -c 'import glob, sysconfig; print(":".join(glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/**/lib", recursive=True)))')
export LD_LIBRARY_PATH=$scratch/lib${wheels:+:$wheels}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | head -n 1 >"$results/card"
"$binary" doctor --json >"$results/doctor.json" || echo "check: doctor found problems, see doctor.json" >&2

python3 "$here/golden.py" "$binary" "$root/tests/golden" "$scratch" "$results" && failed=0 || failed=$?
python3 "$here/speed.py" "$binary" "$root" "$scratch" "$results" ||
    echo "check: the speeds are not whole, see $results" >&2
python3 "$here/report.py" "$root" "$results"
exit "$failed"
