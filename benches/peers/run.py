#!/usr/bin/env python3
"""Runs rewardrt and its peers on the same random weights, interleaved, and prints their figures and ratios.

    python3 benches/peers/run.py WORK --tokenizer DIR [--rounds 5] [--only NAME ...] [--no-setup] > benches/results/peers.md

WORK is a folder of about 25 GB: the checkpoint that `benches/make_checkpoint.py` makes at the 0.6B text size (DIR is that
script's), a Python environment for each peer with the packages of `requirements/`, the converted models, and the results
of every round as JSON. What is there already is used again. llama.cpp is built from source: a quarter of an hour, and
needs a C++ compiler. A peer that cannot be set up or run is a row that says why.

Every round starts each engine once and runs all cases in it, so that what else the machine does meets all alike; a figure
is the median of the rounds, and within a round a step is the median step. An engine whose round takes over a minute runs
in every second round. Run it on a machine that does nothing else.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "benches/peers"
CASES = [dict(batch=1, prompt=512, steps=16), dict(batch=4, prompt=32, steps=8), dict(batch=8, prompt=32, steps=8),
         dict(batch=16, prompt=32, steps=8)]
COLUMNS = ["prefill 512", "decode b1 @512", "decode b4 @32", "decode b8 @32", "decode b16 @32"]
# Seconds from which an engine is run in every second round only.
LONG_ROUND = 60
# Name, width of the weights, environment, kind of worker, model.
ENGINES = [
    ("rewardrt fp32", 32, None, "rewardrt", "rewardrt-fp32"),
    ("rewardrt int8", 8, None, "rewardrt", "rewardrt-int8"),
    ("rewardrt w8a8", 8, None, "rewardrt", "rewardrt-w8a8"),
    ("rewardrt int4", 4, None, "rewardrt", "rewardrt-int4"),
    ("transformers fp32", 32, "transformers", "transformers-fp32", "text"),
    ("transformers bf16", 16, "transformers", "transformers-bf16", "text"),
    ("OpenVINO int8", 8, "openvino", "openvino", "openvino-int8"),
    ("OpenVINO int4", 4, "openvino", "openvino", "openvino-int4"),
    ("onnxruntime-genai int8", 8, "genai", "genai", "genai-int8"),
    ("onnxruntime-genai int4", 4, "genai", "genai", "genai-int4"),
    ("llama.cpp q8_0", 8, "llama", "llama", "q8_0.gguf"),
    ("llama.cpp q4_0", 4, "llama", "llama", "q4_0.gguf"),
]


def run(command, log=None):
    """Runs a command; what goes wrong is an error with its last words."""
    print("$", *map(str, command), file=sys.stderr, flush=True)
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=os.environ | {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"})
    if log:
        log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        named = [line for line in words if line.lower().startswith("error")]
        raise RuntimeError((named or words)[-1][-300:])
    return done.stdout


class Work:
    def __init__(self, args):
        self.folder = args.work.resolve()
        self.tokenizer, self.setup = args.tokenizer, not args.no_setup
        self.problems = {}
        for name in ["venvs", "models", "results"]:
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def model(self, name):
        return self.folder / "models" / name

    def python(self, venv):
        return self.folder / "venvs" / venv / "bin/python"

    def once(self, path, make):
        """Makes a file or a folder that is not there yet."""
        if not path.exists() and self.setup:
            make()
        if not path.exists():
            raise RuntimeError(f"{path.name} was not made")

    def environment(self, name):
        python = self.python(name)

        def make():
            run([sys.executable, "-m", "venv", python.parents[1]])
            run([python, "-m", "pip", "install", "--disable-pip-version-check", "--requirement",
                 HERE / f"requirements/{name}.txt"], self.folder / f"{name}.log")
        self.once(python, make)

    def checkpoint(self):
        """The checkpoint and its text part, made with the packages of one of the peers."""
        whole, text = self.model("whole"), self.model("text")
        python = self.python("llama")
        self.once(whole, lambda: run([python, ROOT / "benches/make_checkpoint.py", whole, "--size", "0.6b",
                                      "--tokenizer", self.tokenizer]))
        self.once(text, lambda: run([python, HERE / "convert.py", "text", whole, text]))

    def prepare(self, venv, kind, name):
        """The environment and the model of an engine."""
        if venv:
            self.environment(venv)
        out, text = self.model(name), self.model("text")
        if kind == "rewardrt":
            precision = name.removeprefix("rewardrt-")
            make = [self.binary("rewardrt"), "export", self.model("whole"), "--out", out, "--precision", precision, "--quiet"]
        elif kind == "openvino":
            make = [self.python(venv).parent / "optimum-cli", "export", "openvino", "--model", text, "--task",
                    "text-generation-with-past", "--weight-format", name.removeprefix("openvino-"), out]
        elif kind == "genai":
            make = [self.python(venv), "-m", "onnxruntime_genai.models.builder", "-i", text, "-o", out, "-p",
                    name.removeprefix("genai-"), "-e", "cpu", "-c", self.folder / "cache"]
        elif kind == "llama":
            make = [self.python(venv), HERE / "convert.py", "gguf", text, out, name.removesuffix(".gguf")]
        else:
            return
        self.once(out, lambda: run(make, self.folder / f"{name}.log"))

    def binary(self, name):
        return pathlib.Path(os.environ.get("REWARDRT_BIN", ROOT / "target/release")) / name

    def build(self):
        if "REWARDRT_BIN" in os.environ:
            return
        cargo = ["cargo", "build", "--quiet", "--release", "--manifest-path", ROOT / "Cargo.toml"]
        run([*cargo, "-p", "rewardrt-cli"])
        run([*cargo, "-p", "rewardrt-benches", "--example", "engine"])

    def command(self, venv, kind, name):
        cases = json.dumps(CASES)
        if kind == "rewardrt":
            engine = self.binary("engine")
            return [engine if engine.exists() else self.binary("examples/engine"), self.model(name), cases]
        return [self.python(venv), HERE / "worker.py", kind, self.model(name), cases]


def figures(lines):
    """Tokens per second of each column, the id that follows the first prompt, and the version."""
    cases = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    if len(cases) != len(CASES):
        raise RuntimeError(f"{len(cases)} of {len(CASES)} cases")
    rates = [CASES[0]["prompt"] / cases[0]["prefill_s"]]
    rates += [case["batch"] / statistics.median(got["steps_s"]) for case, got in zip(CASES, cases)]
    return dict(rates=rates, next=cases[0]["next"], version=cases[0].get("version"))


def measure(work, engines, rounds):
    """All figures by engine, a list of rounds; what went wrong goes to the problems."""
    results = {name: [] for name, *_ in engines}
    bandwidths, slow = [], set()
    for number in range(rounds):
        bandwidths.append(bandwidth(work))
        for name, _, venv, kind, model in engines:
            if name in work.problems or (name in slow and number % 2 == 1):
                continue
            start = time.monotonic()
            try:
                results[name].append(figures(run(work.command(venv, kind, model))))
            except (OSError, RuntimeError) as error:
                work.problems[name] = str(error)
            took = time.monotonic() - start
            if took > LONG_ROUND:
                slow.add(name)
            print(f"round {number + 1}: {name}, {took:.0f} s", file=sys.stderr, flush=True)
            saved = dict(results=results, bandwidths=bandwidths, problems=work.problems)
            (work.folder / "results/rounds.json").write_text(json.dumps(saved, indent=1))
    return results, bandwidths


def bandwidth(work):
    program = work.folder / "bandwidth"
    if not program.exists():
        run(["rustc", "--edition", "2024", "-O", "-C", "target-cpu=native", "-o", program, ROOT / "benches/bandwidth.rs"])
    return float(run([program]))


def medians(rounds):
    return [statistics.median(values) for values in zip(*(r["rates"] for r in rounds))]


def table(head, rows):
    return "\n".join(["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]])


def speeds(engines, results, problems):
    rows = []
    for name, *_ in engines:
        if name in problems:
            rows.append([name, f"not measured: {problems[name]}"] + [""] * len(COLUMNS))
        else:
            rates = [f"{rate:.1f}" for rate in medians(results[name])]
            rows.append([name, *rates, str(len(results[name]))])
    return table(["tokens per second", *COLUMNS, "rounds"], rows)


def ratios(engines, results, problems):
    """The best of ours over the best of theirs, by the width of the weights and over all."""
    def best(mine, widths, column):
        found = [(medians(results[name])[column], name) for name, width, *_ in engines
                 if name.startswith("rewardrt") == mine and width in widths and name not in problems and results[name]]
        return max(found, default=None)
    rows = []
    for title, widths in [("16 and 32 bits", (16, 32)), ("8 bits", (8,)), ("4 bits", (4,)), ("all", (4, 8, 16, 32))]:
        row = [title]
        for column in range(len(COLUMNS)):
            ours, theirs = best(True, widths, column), best(False, widths, column)
            row.append(f"{ours[0] / theirs[0]:.2f} ({ours[1].removeprefix('rewardrt ')} to {theirs[1]})"
                       if ours and theirs else "-")
        rows.append(row)
    return table(["best of rewardrt / best peer", *COLUMNS], rows)


def bound(work, results, bandwidths):
    """Decoding at batch 1 against reading every weight and every key and value once a step."""
    rows, read = [], statistics.median(bandwidths)
    for name, rounds in results.items():
        manifest = work.model(name.replace(" ", "-")) / "package.json"
        if not rounds or not manifest.exists():
            continue
        package = json.loads(manifest.read_text())
        d, sizes = package["decoder"], {f["path"]: f["size"] for f in package["files"]}
        # The table of embeddings is read by the row.
        weights = sizes["decoder.weights"] - 2 * d["vocabulary"] * d["hidden"]
        cache = 2 * 4 * d["layers"] * d["kv_heads"] * d["head_dim"] * (CASES[0]["prompt"] + CASES[0]["steps"] / 2)
        rate, most = medians(rounds)[1], read / (weights + cache)
        rows.append([name, f"{weights / 1e6:.0f} + {cache / 1e6:.0f} MB", f"{most:.1f}", f"{100 * rate / most:.0f} %"])
    return table(["decode b1 @512", "weights + keys and values", "bound, tokens/s", "reached"], rows)


def report(work, engines, results, bandwidths, rounds):
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    flags = re.search(r"flags\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    has = [f for f in ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"] if flags and f in flags.group(1).split()]
    commit = run(["git", "-C", ROOT, "describe", "--always", "--dirty"]).strip()
    versions = sorted({r["version"] for all_rounds in results.values() for r in all_rounds if r["version"]})
    after = {}
    for name, all_rounds in results.items():
        for got in all_rounds[:1]:
            after.setdefault(got["next"], []).append(name)
    agreement = "; ".join(f"id {token}: {', '.join(names)}" for token, names in after.items())
    spread = [max(values) / min(values) for all_rounds in results.values() if all_rounds
              for values in zip(*(r["rates"] for r in all_rounds))]
    print(f"""## The decoder alone

Random weights at the text sizes of Qwen3-0.6B (28 layers of 1024, 16 heads and 8 of keys and values of 128, MLP 3072,
vocabulary 151,936), the same for all; each engine quantizes them in its own way.

- Command: `benches/peers/run.py WORK --tokenizer DIR --rounds {rounds}`, commit {commit}, {datetime.date.today()}
- Machine: {cpu.group(1) if cpu else platform.processor()}, {os.cpu_count()} cores, {', '.join(has)}
- Versions: {', '.join(versions)}
- Medians of {rounds} interleaved rounds; the fastest round of an engine is {statistics.median(spread):.2f} times its slowest in
  the median, {max(spread):.2f} times at most
- Memory bandwidth, median of the rounds: {statistics.median(bandwidths) / 1e9:.1f} GB/s

{speeds(engines, results, work.problems)}

{ratios(engines, results, work.problems)}

{bound(work, results, bandwidths)}

The greedy id after the first prompt, which float engines must share and coarse weights may change: {agreement}.""")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[name for name, *_ in ENGINES])
    parser.add_argument("--no-setup", action="store_true", help="use what is there, and make nothing")
    args = parser.parse_args()
    work = Work(args)
    engines = [engine for engine in ENGINES if not args.only or engine[0] in args.only]
    if work.setup:
        work.build()
        work.environment("llama")
        work.checkpoint()
    for name, _, venv, kind, model in engines:
        try:
            work.prepare(venv, kind, model)
        except (OSError, RuntimeError) as error:
            work.problems[name] = str(error)
    results, bandwidths = measure(work, engines, args.rounds)
    report(work, engines, results, bandwidths, args.rounds)


if __name__ == "__main__":
    main()
