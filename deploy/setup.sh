#!/bin/sh
# Gets the two things that are not Rust: libav (FFmpeg's libraries, for video files) out of Debian's packages, and
# ONNX Runtime's shared library out of its Python wheel.
#
# The packages of libav are installed when they are missing and this runs as root; else the command to do it is
# printed. REWARDRT_NO_VIDEO=1 leaves them out, for builds with `--no-default-features`.
#
# The wheel is pinned by version and SHA-256, and so is the library inside it. It lands in vendor/ort
# (ignored by git) with its licence beside it. Safe to run again: when the right library lies there,
# nothing is fetched. No Python is needed after this step.
set -eu

VERSION=1.32.0
cd "$(dirname "$0")/.."
DEST=vendor/ort
LIBRARY=libonnxruntime.so.$VERSION

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

case "$(uname -s)-$(uname -m)" in
Linux-x86_64)
    PLATFORM=manylinux_2_28_x86_64
    WHEEL_SHA256=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d
    LIBRARY_SHA256=6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f
    ;;
Linux-aarch64 | Linux-arm64)
    PLATFORM=manylinux_2_28_aarch64
    WHEEL_SHA256=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c
    LIBRARY_SHA256=49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a
    ;;
*)
    fail "no library is pinned for $(uname -s) $(uname -m). Install ONNX Runtime $VERSION yourself and" \
        "name its shared library in ORT_DYLIB_PATH."
    ;;
esac

command -v cargo >/dev/null 2>&1 ||
    fail "cargo is not on the PATH. Install Rust 1.92 or newer with rustup, then run this again."

# Headers of libav, and libclang, which the binding's generator reads them with.
VIDEO_PACKAGES="libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libclang-dev pkg-config"

has_libav() {
    command -v pkg-config >/dev/null 2>&1 && pkg-config --exists libavformat libavcodec libavutil libswscale
}

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    for library in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* /usr/lib64/libclang*.so*; do
        [ -e "$library" ] && return 0
    done
    return 1
}

install_libav() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing $VIDEO_PACKAGES" >&2
        # The word list is meant to be split.
        # shellcheck disable=SC2086
        apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends $VIDEO_PACKAGES >&2 ||
            fail "apt-get could not install libav. Check the network and the package sources, then run this again."
    else
        fail "libav's development files are missing. On Debian or Ubuntu run:" \
            "sudo apt-get install --no-install-recommends $VIDEO_PACKAGES" \
            "(elsewhere: FFmpeg's development files, libclang and pkg-config), then run this again." \
            "To build without video files instead, set REWARDRT_NO_VIDEO=1 here and give cargo --no-default-features."
    fi
}

if [ -z "${REWARDRT_NO_VIDEO:-}" ]; then
    has_libav && has_libclang || install_libav
fi

installed() {
    [ -f "$DEST/$LIBRARY" ] && echo "$LIBRARY_SHA256  $DEST/$LIBRARY" | sha256sum -c --status -
}

if installed && [ -e "$DEST/libonnxruntime.so" ] && [ -f "$DEST/LICENSE" ]; then
    exit 0
fi

command -v python3 >/dev/null 2>&1 ||
    fail "python3 is not on the PATH. It is needed once, to fetch the ONNX Runtime wheel. Install python3 and python3-pip."
python3 -m pip --version >/dev/null 2>&1 ||
    fail "python3 has no pip. Install python3-pip (or run: python3 -m ensurepip)."

TEMP=$(mktemp -d)
trap 'rm -rf "$TEMP"' EXIT
trap 'exit 1' HUP INT TERM

# The explicit tags make the answer the same whatever Python runs here; pip refuses a wrong hash.
printf 'onnxruntime==%s --hash=sha256:%s\n' "$VERSION" "$WHEEL_SHA256" >"$TEMP/requirements.txt"
echo "setup: fetching ONNX Runtime $VERSION ($PLATFORM)" >&2
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --implementation cp --python-version 3.11 --abi cp311 --platform "$PLATFORM" \
    --dest "$TEMP" --requirement "$TEMP/requirements.txt" ||
    fail "pip could not fetch onnxruntime $VERSION. Check the network and pip's index settings, then run this again."

# Python's own zip reader, so that unzip is not needed.
python3 - "$TEMP" <<'PYTHON'
import glob, sys, zipfile
folder = sys.argv[1]
(wheel,) = glob.glob(folder + "/onnxruntime-*.whl")
wanted = ("onnxruntime/capi/libonnxruntime", "onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name.startswith(wanted):
            with open(folder + "/" + name.rsplit("/", 1)[1], "wb") as out:
                out.write(archive.read(name))
PYTHON

echo "$LIBRARY_SHA256  $TEMP/$LIBRARY" | sha256sum -c --status - ||
    fail "the library in the wheel has not the SHA-256 that is pinned here; it is refused."
mkdir -p "$DEST"
# Moved into place whole: a second run at the same time never sees half a library.
for file in "$LIBRARY" libonnxruntime_providers_shared.so LICENSE ThirdPartyNotices.txt; do
    cp "$TEMP/$file" "$DEST/$file.new.$$"
    mv -f "$DEST/$file.new.$$" "$DEST/$file"
done
ln -sf "$LIBRARY" "$DEST/libonnxruntime.so"
echo "setup: $DEST/libonnxruntime.so is ready" >&2
