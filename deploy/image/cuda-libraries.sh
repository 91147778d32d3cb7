#!/bin/sh
# Fetches the GPU build of ONNX Runtime and NVIDIA's libraries, pinned by SHA-256 in cuda-requirements.txt, into one folder.
#
#     deploy/image/cuda-libraries.sh FOLDER
set -eu

[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
HERE=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
DEST=$(cd "$1" && pwd)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 1' HUP INT TERM

# The explicit tags make the answer the same whatever Python runs here; pip refuses a wrong hash.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --implementation cp --python-version 3.11 --abi cp311 --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 \
    --dest "$WORK" --requirement "$HERE/cuda-requirements.txt"

# Python's own zip reader, so that unzip is not needed. Shared libraries and licences; neither headers, nor what
# nothing here loads: TensorRT's provider, whose libraries the image lacks, and second forms of the same libraries.
python3 - "$WORK" "$DEST" <<'PYTHON'
import glob, os, re, shutil, sys, zipfile
work, dest = sys.argv[1:]
os.makedirs(dest + "/licences", exist_ok=True)
for wheel in sorted(glob.glob(work + "/*.whl")):
    package = os.path.basename(wheel).split("-")[0]
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            base = name.rsplit("/", 1)[-1]
            if re.fullmatch(r"lib.+\.so(\.[\d.]+)?", base) and not re.search("tensorrt|nvblas|cufftw|[.]alt[.]", base):
                target = dest + "/" + base
            elif re.fullmatch(r"(licen[cs]e|thirdpartynotices).*", base, re.I):
                target = dest + "/licences/" + package + "-" + base
            else:
                continue
            with archive.open(name) as source, open(target, "wb") as out:
                shutil.copyfileobj(source, out)
PYTHON
cd "$DEST"
ln -sf libonnxruntime.so.1.* libonnxruntime.so
chmod -R a+rX "$DEST"
du -sk "$DEST" | awk '{ printf "cuda: %.0f MB of libraries\n", $1 * 1024 / 1e6 }'
