#!/usr/bin/env bash
# Times eight frames of three videos (linspace, cut to whole indices) by rewardrt and by its peers, and prints markdown.
#
#   benches/video/run.sh WORK [ROUNDS] > benches/results/video.md
#
# WORK is a folder for the videos (1 GB), which are made once. Needs: ffmpeg with libx264, and in $PYTHON (python3) the
# packages av, opencv-python-headless, decord and torchcodec; those that are missing are left out. Every round times every
# decoder on every video, one after the other, so that a busy machine is busy for all of them. REWARDRT_VIDEO_BENCH names
# a built example; without it the example is built here.
set -euo pipefail

if (($# < 1)); then
    sed -n 's/^# \{0,1\}//; 2,9p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd)

# The picture moves everywhere and is noisy, so that frames cost about what filmed ones do.
make_video() {
    local name=$1 size=$2 rate=$3 seconds=$4 preset=$5
    [[ -f $work/$name ]] && return
    echo "making $name" >&2
    ffmpeg -v error -nostdin -y -f lavfi -t "$seconds" \
        -i "testsrc2=size=$size:rate=$rate,scroll=horizontal=0.002,noise=alls=8:allf=t" \
        -c:v libx264 -preset "$preset" -pix_fmt yuv420p "$work/part-$name"
    mv "$work/part-$name" "$work/$name"
}
make_video short.mp4 832x480 16 2.0625 medium
make_video middle.mp4 1280x720 30 30 medium
# Ten minutes are ten times one minute: the bench times decoding, and the encoder need not see all of it.
if [[ ! -f $work/long.mp4 ]]; then
    make_video minute.mp4 1920x1080 30 60 veryfast
    for _ in {1..10}; do echo "file '$work/minute.mp4'"; done >"$work/minutes.txt"
    ffmpeg -v error -nostdin -y -f concat -safe 0 -i "$work/minutes.txt" -c copy "$work/part-long.mp4"
    mv "$work/part-long.mp4" "$work/long.mp4"
fi

if [[ -z ${REWARDRT_VIDEO_BENCH:-} ]]; then
    cargo build --quiet --release --manifest-path "$root/Cargo.toml" -p rewardrt-benches --example video >&2
    target=$(cargo metadata --format-version 1 --no-deps --manifest-path "$root/Cargo.toml" |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
    export REWARDRT_VIDEO_BENCH=$target/release/examples/video
fi
# A session of its own with all the weight of one: neighbours on the machine are timed against less.
exec setsid --wait bash -c 'echo -20 >/proc/self/autogroup 2>/dev/null || true; exec "$@"' _ \
    "${PYTHON:-python3}" "$here/peers.py" "$work" "${2:-5}"
