#!/usr/bin/env bash
# Exports a checkpoint three ways, asks the int4 package one comparison, and prints the measurements as markdown.
#
#   benches/measure_2b.sh CHECKPOINT WORK > benches/results/qwen3-vl-2b-cpu.md
#
# CHECKPOINT is a folder made by benches/make_checkpoint.py (random weights: what is measured is time and memory).
# WORK is a folder for the packages, twice the size of the checkpoint. Needs: GNU time, python3, and the
# library that `make setup` fetches. Run it on a machine that does nothing else.
set -euo pipefail

if (($# != 2)); then
    sed -n 's/^# \{0,1\}//; 2,8p' "$0" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
checkpoint=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
export ORT_DYLIB_PATH=${ORT_DYLIB_PATH:-$root/vendor/ort/libonnxruntime.so} ORT_DISABLE_TELEMETRY=1

cargo build --quiet --release --manifest-path "$root/Cargo.toml" -p rewardrt-cli >&2
target=$(cargo metadata --format-version 1 --no-deps --manifest-path "$root/Cargo.toml" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
rewardrt=$target/release/rewardrt
rustc --edition 2024 -O -C target-cpu=native -o "$work/bandwidth" "$root/benches/bandwidth.rs"

# Exports read the checkpoint from the disk if the system lets its file cache be dropped, else from memory.
cache=warm
drop_cache() {
    sync
    if echo 3 2>/dev/null >/proc/sys/vm/drop_caches; then cache=cold; fi
}

for precision in fp16 int8 int4; do
    rm -rf "${work:?}/$precision"
    drop_cache
    echo "exporting $precision" >&2
    /usr/bin/time -v -o "$work/$precision.time" \
        "$rewardrt" export "$checkpoint" --out "$work/$precision" --precision "$precision" --quiet --json \
        >"$work/$precision.json"
done

cut -d ' ' -f 1 /proc/loadavg >"$work/load"
"$work/bandwidth" >"$work/bandwidth.before"
echo "comparing" >&2
/usr/bin/time -v -o "$work/compare.time" \
    "$rewardrt" compare --model "$work/int4" --max-new-tokens 128 --quiet --json \
    --prompt "a painting of an ocean with clouds and birds, day time, low depth field effect" \
    "$root/models/demo/ocean-1.webp" "$root/models/demo/ocean-4.webp" >"$work/compare.json"
"$work/bandwidth" >"$work/bandwidth.after"

CACHE=$cache CHECKPOINT=$checkpoint python3 - "$work" "$root" <<'PYTHON'
import datetime, json, os, pathlib, platform, re, subprocess, sys

work, root = map(pathlib.Path, sys.argv[1:])


def measured(name):
    """Wall seconds and peak resident bytes as GNU time saw them."""
    text = (work / f"{name}.time").read_text()
    clock = re.search(r"Elapsed .*: ([\d:.]+)$", text, re.M).group(1)
    wall = 0.0
    for part in clock.split(":"):
        wall = wall * 60 + float(part)
    return wall, 1024 * int(re.search(r"Maximum resident set size .*: (\d+)", text).group(1))


def sizes(name):
    manifest = json.loads((work / name / "package.json").read_text())
    return {f["path"]: f["size"] for f in manifest["files"]}, manifest


mb = lambda n: f"{n / 1e6:,.0f} MB"
cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
commit = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
weights = sum(f.stat().st_size for f in pathlib.Path(os.environ["CHECKPOINT"]).glob("*.safetensors"))

print(f"""# Qwen3-VL-2B's shape on a CPU

Random weights made by `benches/make_checkpoint.py`: {mb(weights)} of bf16 tensors. They judge nothing; what is measured
is time and memory.

- Command: `benches/measure_2b.sh CHECKPOINT WORK`, commit {commit}, {datetime.date.today()}
- Machine: {cpu.group(1) if cpu else platform.processor()}, {os.cpu_count()} cores, {mb(1024 * int(memory.group(1)))} of memory, shared with other work
- File cache before each export: {os.environ["CACHE"]}
- Load average when the comparison began, the exports before it included: {(work / "load").read_text().strip()}

## Export

| precision | wall | peak memory | decoder weights | vision weights | package |
|---|---|---|---|---|---|""")
for name in ["fp16", "int8", "int4"]:
    wall, peak = measured(name)
    files, _ = sizes(name)
    print(f"| {name} | {wall:.1f} s | {mb(peak)} | {mb(files['decoder.weights'])} | {mb(files['vision.weights'])} | {mb(sum(files.values()))} |")

verdict = json.loads((work / "compare.json").read_text())
t, u = verdict["timing_ms"], verdict["usage"]
wall, peak = measured("compare")
files, manifest = sizes("int4")
d = manifest["decoder"]
# A step reads every weight of the decoder once but the embedding table, which is gathered by the row, and the keys
# and values of every token so far.
table = 2 * d["vocabulary"] * d["hidden"]
cache = 2 * 4 * d["layers"] * d["kv_heads"] * d["head_dim"] * (u["prompt_tokens"] + u["new_tokens"] / 2)
step = files["decoder.weights"] - table + cache
bandwidths = [float((work / f"bandwidth.{when}").read_text()) for when in ("before", "after")]
bandwidth = sum(bandwidths) / 2
# The first token comes from the prompt's run.
rate = (u["new_tokens"] - 1) / (t["decode"] / 1e3)
print(f"""
## One comparison

int4, two pictures of 512x512, one order, at most 128 new tokens: {u['prompt_tokens']} prompt tokens, of them
{u['vision_tokens']} of the pictures; {u['new_tokens']} written (status {verdict['status']}, as random weights write no report).

| load | preprocess | vision | prefill | decode | whole command | peak memory |
|---|---|---|---|---|---|---|
| {t['load'] / 1e3:.1f} s | {t['preprocess']:.0f} ms | {t['vision'] / 1e3:.2f} s | {t['prefill'] / 1e3:.2f} s | {t['decode'] / 1e3:.2f} s | {wall:.1f} s | {mb(peak)} |

| | tokens/s |
|---|---|
| prefill | {u['prompt_tokens'] / (t['prefill'] / 1e3):.1f} |
| decode | {rate:.2f} |
| decode if memory were the only limit | {bandwidth / step:.2f} |

The limit: a step reads {mb(step)} ({mb(step - cache)} of weights, {mb(cache)} of keys and values, fp32), and two threads
read {bandwidth / 1e9:.1f} GB/s here ({bandwidths[0] / 1e9:.1f} before the comparison, {bandwidths[1] / 1e9:.1f} after it). Decode reaches {100 * rate * step / bandwidth:.0f} % of it.""")
PYTHON
