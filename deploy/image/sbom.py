#!/usr/bin/env python3
"""The bill of materials of an image, as CycloneDX 1.5 JSON: Debian's packages, FFmpeg and dav1d, ONNX Runtime, crates."""

import argparse
import hashlib
import json
import pathlib
import re
import tomllib


def library(name, version, purl, **more):
    return {"type": "library", "name": name, "version": version, "purl": purl, **more}


def debian(root):
    for path in sorted((root / "var/lib/dpkg/status.d").iterdir()):
        fields = dict(re.findall(r"^(Package|Version|Architecture): (.+)$", path.read_text(), re.M))
        name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
        yield library(name, version, f"pkg:deb/debian/{name}@{version}?arch={machine}&distro=bookworm")


def sources(listing):
    for line in listing.read_text().split():
        name, version = line.removesuffix(".dsc").split("_", 1)
        yield library(name, version, f"pkg:deb/debian/{name}@{version}?arch=source&distro=bookworm")


def crates(lock):
    for crate in tomllib.loads(lock.read_text())["package"]:
        # The workspace's own have no source.
        if "source" in crate:
            name, version = crate["name"], crate["version"]
            yield library(name, version, f"pkg:cargo/{name}@{version}", hashes=[{"alg": "SHA-256", "content": crate["checksum"]}])


def onnxruntime(folder):
    file = (folder / "libonnxruntime.so").resolve()
    version = file.name.split(".so.")[1]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return library("onnxruntime", version, f"pkg:pypi/onnxruntime@{version}", hashes=[{"alg": "SHA-256", "content": digest}])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ["--root", "--lock", "--ffmpeg", "--onnxruntime"]:
        parser.add_argument(name, type=pathlib.Path, required=True)
    args = parser.parse_args()
    components = [*debian(args.root), *sources(args.ffmpeg), onnxruntime(args.onnxruntime), *crates(args.lock)]
    program = {"type": "application", "name": "rewardrt"}
    document = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": program}, "components": components}
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
