#!/usr/bin/env python3
"""Time packages of one checkpoint beside each other: decode at batch 1 and 8, prefill, one picture, attention's share.

    python3 benches/precisions.py PACKAGE... [--context 512] [--prefill 512] [--patches 1024] [--rounds 7] [--threads 2]

The packages take turns in every round, so what else the machine does falls on all of them; the table says the median and
what it is of the first package's. Sessions have the runtime's options. Needs: numpy, onnxruntime 1.32.
"""
import argparse
import json
import pathlib
import platform
import time

import numpy as np
import onnxruntime as ort

NUMPY = dict(f32=np.float32, i64=np.int64, i32=np.int32)


def session(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    exact = platform.machine() == "x86_64" and not any(f in flags for f in ("avx512_vnni", "avx_vnni"))
    # A session must not spin into the next one's turn.
    for key, value in (("session.x64quantprecision", str(int(exact))), ("session.set_denormal_as_zero", "1"),
                       ("session.force_spinning_stop", "1")):
        options.add_session_config_entry(key, value)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Package:
    def __init__(self, path, slots, columns, threads):
        self.path = pathlib.Path(path)
        self.manifest = json.loads((self.path / "package.json").read_text())
        self.decoder = self.manifest["decoder"]
        self.session = session(self.path / "decoder.onnx", threads)
        self.tower = session(self.path / "vision.onnx", threads) if self.manifest["vision"] else None
        shape = (slots, self.decoder["kv_heads"], columns, self.decoder["head_dim"])
        ports = [p["name"] for p in self.decoder["graph"]["inputs"] if p["name"].startswith("past")]
        assert self.decoder.get("recurrent") is None, "packages with recurrent states are not covered"
        rng = np.random.default_rng(0)
        fill = rng.standard_normal(shape[1:], np.float32) * np.float32(0.1)
        self.caches = {name: np.repeat(fill[None], slots, 0) for name in ports}

    def run(self, batch, new, past):
        """One run of `new` tokens for each of `batch` slots behind `past` tokens; logits of the last row of each."""
        binding, keep = self.session.io_binding(), []
        half = self.decoder["position"]["rotary_dim"] // 2
        angles = np.arange(batch * new, dtype=np.float32)[:, None] * np.linspace(1, 1e-4, half, dtype=np.float32)
        fixed = dict(
            input_ids=np.arange(batch * new, dtype=np.int64).reshape(batch, new) % 1000,
            feature_rows=np.full((batch, new), -1, np.int64),
            rotary_cos=np.cos(angles), rotary_sin=np.sin(angles),
            rotary_rows=np.arange(batch * new, dtype=np.int64).reshape(batch, new),
            seqlens_k=np.full(batch, past + new - 1, np.int32),
            total_sequence_length=np.array(next(iter(self.caches.values())).shape[2], np.int32),
            query_seqlens=np.full(batch, new, np.int32),
            logit_rows=np.arange(1, batch + 1, dtype=np.int64) * new - 1)
        for port in self.decoder["graph"]["inputs"]:
            name = port["name"]
            if name in self.caches:
                cache = self.caches[name]
                shape = (batch, *cache.shape[1:])
                binding.bind_input(name, "cpu", 0, np.float32, shape, cache.ctypes.data)
                binding.bind_output(name.replace("past", "present"), "cpu", 0, np.float32, shape, cache.ctypes.data)
                continue
            # What is not fixed are features, of which these chats have none.
            value = fixed.get(name, np.zeros((1, self.decoder["hidden"]), np.float32))
            keep.append(np.ascontiguousarray(value))
            binding.bind_input(name, "cpu", 0, NUMPY[port["dtype"]], value.shape, keep[-1].ctypes.data)
        binding.bind_output("logits" if any(o["name"] == "logits" for o in self.decoder["graph"]["outputs"])
                            else "scores")
        self.session.run_with_iobinding(binding)
        return binding

    def prefill(self, tokens, chunk=256):
        for begin in range(0, tokens, chunk):
            self.run(1, min(chunk, tokens - begin), begin)

    def picture(self, patches):
        """One square picture of this many patches."""
        feeds = {}
        for port in self.manifest["vision"]["graph"]["inputs"]:
            shape = [{"b": 1, "p": patches}.get(d, 1) if isinstance(d, str) else d for d in port["shape"]]
            feeds[port["name"]] = np.zeros(shape, NUMPY[port["dtype"]])
        feeds["patches"] += np.random.default_rng(1).standard_normal(feeds["patches"].shape, np.float32)
        self.tower.run(None, feeds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packages", nargs="+")
    for name, default in (("context", 512), ("prefill", 512), ("patches", 1024), ("rounds", 7), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    a = parser.parse_args()
    columns = max(a.context, a.prefill) + 256
    packages = [Package(p, 8, columns, a.threads) for p in a.packages]
    tasks = {
        f"decode b1 @{a.context}": (lambda p: [p.run(1, 1, a.context) for _ in range(4)], 4),
        f"decode b8 @{a.context}": (lambda p: [p.run(8, 1, a.context) for _ in range(2)], 16),
        f"prefill {a.prefill}": (lambda p: p.prefill(a.prefill), a.prefill),
        f"picture of {a.patches} patches": (lambda p: p.picture(a.patches) if p.tower else None, 1)}
    print("| | " + " | ".join(p.manifest["precision"] for p in packages) + " |")
    print("|---" * (len(packages) + 1) + "|")
    for name, (task, count) in tasks.items():
        times = [[] for _ in packages]
        for turn in range(a.rounds + 1):
            for package, taken in zip(packages, times):
                begin = time.perf_counter()
                task(package)
                # The first round only warms up.
                taken.extend([time.perf_counter() - begin] if turn else [])
        medians = [float(np.median(taken)) for taken in times]
        ratios = [float(np.median(np.divide(times[0], taken))) for taken in times]
        unit = (lambda t: f"{t:.2f} s") if count == 1 else (lambda t: f"{count / t:.1f} tok/s")
        print(f"| {name} | " + " | ".join(f"{unit(t)} ({r:.2f}x)" for t, r in zip(medians, ratios)) + " |", flush=True)


if __name__ == "__main__":
    main()
