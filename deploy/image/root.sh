#!/bin/sh
# Gathers the root of the image: the program, ONNX Runtime, the shared libraries that both need, and nothing else.
#
#     deploy/image/root.sh PROGRAM ONNXRUNTIME-FOLDER ROOT
set -eu

[ $# = 3 ] || { echo "usage: $0 PROGRAM ONNXRUNTIME-FOLDER ROOT" >&2; exit 2; }
PROGRAM=$1 ONNXRUNTIME=$2 ROOT=$3
HOME_IN=$ROOT/opt/rewardrt
mkdir -p "$HOME_IN/licences" "$ROOT/bin" "$ROOT/etc" "$ROOT/tmp" "$ROOT/proc" "$ROOT/dev"
chmod 1777 "$ROOT/tmp"

cp "$PROGRAM" "$HOME_IN/rewardrt"
cp -L "$ONNXRUNTIME/libonnxruntime.so" "$HOME_IN/libonnxruntime.so"
cp "$ONNXRUNTIME/LICENSE" "$HOME_IN/licences/onnxruntime"
cp "$ONNXRUNTIME/ThirdPartyNotices.txt" "$HOME_IN/licences/onnxruntime-third-party"
cp LICENSE-MIT LICENSE-APACHE "$HOME_IN/licences/"
cp /opt/ffmpeg/LICENSE-* "$HOME_IN/licences/"

# What the loader finds for the two, at the paths where it finds it.
: >"$ROOT/../packages.tmp"
for file in $(ldd "$HOME_IN/rewardrt" "$HOME_IN/libonnxruntime.so" | grep -o '/[^ ]*lib[^ )]*\.so[^ )]*' | grep -v "^$ROOT" | sort -u); do
    mkdir -p "$ROOT$(dirname "$file")"
    cp -L "$file" "$ROOT$file"
    for path in "$file" "$(readlink -f "$file")" "/usr$file"; do
        dpkg -S "$path" 2>/dev/null | cut -d: -f1 >>"$ROOT/../packages.tmp"
    done
done
# For the health check: one static file of Debian's.
cp "$(command -v busybox)" "$ROOT/bin/busybox"
echo busybox-static >>"$ROOT/../packages.tmp"

# The versions of what was taken, as dpkg knows them; scanners read this folder.
mkdir -p "$ROOT/var/lib/dpkg/status.d"
for package in $(sort -u "$ROOT/../packages.tmp"); do
    dpkg -s "$package" >"$ROOT/var/lib/dpkg/status.d/$package"
    cp "/usr/share/doc/$package/copyright" "$HOME_IN/licences/$package" 2>/dev/null || true
done
rm "$ROOT/../packages.tmp"

echo 'rewardrt:x:10001:10001::/tmp:/opt/rewardrt/rewardrt' >"$ROOT/etc/passwd"
echo 'rewardrt:x:10001:' >"$ROOT/etc/group"

# The built-in judge's package, made once. Any question makes it; this one asks whether it can be answered, too.
REWARDRT_CACHE=$HOME_IN/cache ORT_DYLIB_PATH=$HOME_IN/libonnxruntime.so ORT_DISABLE_TELEMETRY=1 "$HOME_IN/rewardrt" compare \
    --prompt "four blue triangles" models/shapes-judge/examples/0001a.png models/shapes-judge/examples/0001b.png --json >/dev/null
chmod -R a+rX "$ROOT/opt"
du -sk "$ROOT" | awk '{ printf "image: %.1f MB unpacked\n", $1 * 1024 / 1e6 }'
