#!/usr/bin/env bash
# Runs one fuzz target, or all of them one after the other: tests/fuzz/run.sh [NAME|all] [SECONDS]
# What it finds is written to tests/fuzz/artifacts/NAME, and the run ends with an error.
set -euo pipefail
cd "$(dirname "$0")/../.."

name=${1:-all} seconds=${2:-300}
targets=(safetensors_header manifest verdict sentence think score_lines pair_score_lines edit_pair_scores edit_json pack picture rows video)
[[ $name == all ]] || targets=("$name")

# cargo-fuzz asks for flags that a stable compiler has but does not offer.
export RUSTC_BOOTSTRAP=1
# Memory that is freed and kept for diagnosis counts against the limit: 32 MiB of it instead of 256.
export ASAN_OPTIONS=quarantine_size_mb=32${ASAN_OPTIONS:+:$ASAN_OPTIONS}
for target in "${targets[@]}"; do
    # New inputs go to the first folder; the others are only read.
    mkdir -p "tests/fuzz/corpus/$target"
    seeds=("tests/fuzz/corpus/$target")
    options=(-max_total_time="$seconds" -rss_limit_mb=512 -timeout=1 -print_final_stats=1)
    if [[ $target == picture ]]; then
        seeds+=(tests/data/media)
        options+=(-malloc_limit_mb=64 -max_len=65536)
    elif [[ $target == video ]]; then
        # A video of many frames may take longer than the second that texts have. libav allocates what a header says before
        # it reads on, up to its own limit of 2 GiB, which a decoder child refuses; here, what is used counts.
        seeds+=(tests/data/video)
        options+=(-malloc_limit_mb=2048 -max_len=32768 -timeout=10)
    else
        seeds+=("tests/fuzz/seeds/$target")
        options+=(-max_len=8192 -dict=tests/fuzz/words.dict)
    fi
    cargo fuzz run --fuzz-dir tests/fuzz "$target" "${seeds[@]}" -- "${options[@]}"
done
