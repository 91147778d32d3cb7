"""The golden chats on the card: `golden.py BINARY GOLDENS SCRATCH RESULTS`. Writes RESULTS/golden.json. Standard library only.

A run passes when its prompt ids are the golden ones and its greedy ids are the golden ones up to the first step whose
golden margin is under that of the precision: from there on a rounding may rightly choose the other token. Where nodes
ran is asked too, and a decoder with a node on the processor does not pass.
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys

# 16-bit floats keep 11 bits and the goldens' logits reach about 32: one unit in the last place there is 0.03, and a
# logit gathers a few of them on its way. Brain floats keep 8 bits, eight times less.
MARGINS = {"fp16": 0.15, "bf16": 1.2}
NEW_TOKENS = 24
# Families whose decoders keep states run on a processor only.
FAMILIES = ["llava_onevision", "qwen2_5_vl", "qwen2_vl", "qwen3_vl"]


def read_golden(path):
    """The int64 and float32 vectors of a safetensors file: header length, JSON header, bytes."""
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    tensors = {}
    for name, entry in json.loads(raw[8:8 + length]).items():
        if name in ("input_ids", "new_ids", "margins"):
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            code, size = {"I64": ("q", 8), "F32": ("f", 4)}[entry["dtype"]]
            tensors[name] = struct.unpack(f"<{(end - start) // size}{code}", raw[start:end])
    return tensors


def judge(golden, run, margin):
    """(passed, greedy steps that were compared, why) of one run."""
    if isinstance(run, str):
        return False, 0, run
    if list(golden["input_ids"]) != run["prompt_ids"]:
        return False, 0, "prompt ids differ"
    for step, (want, here) in enumerate(zip(golden["new_ids"], golden["margins"])):
        if here < margin:
            return True, step, f"equal for {step} steps; margin {here:.4f} there"
        if step >= len(run["new_ids"]) or run["new_ids"][step] != want:
            return False, step, f"step {step} differs at a margin of {here:.4f}"
    return True, len(golden["new_ids"]), f"all {len(golden['new_ids'])} steps equal"


def ask(*command):
    """The JSON that a command printed, else the last line of what it complained of."""
    got = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if got.returncode == 0 and got.stdout.strip():
        return json.loads(got.stdout)
    lines = (got.stderr or got.stdout).strip().splitlines()
    return f"exit code {got.returncode}: {lines[-1] if lines else 'no answer'}"


def placement(binary, package, provider):
    """(passed, nodes by component and provider) of a package."""
    got = ask(binary, "inspect", "--model", package, "--nodes", "--json", "--quiet", "--provider", provider)
    if isinstance(got, str):
        return False, got
    nodes = {part["component"]: {"graph": part["graph"], **part["operators"]} for part in got["placement"]}
    return "CPUExecutionProvider" not in nodes["decoder"], nodes


def main():
    binary, goldens, scratch, results = (pathlib.Path(arg) for arg in sys.argv[1:])
    provider, rows, placements = os.environ["PROVIDER"], [], []
    models = sorted(path for family in FAMILIES for path in (goldens / family).iterdir() if (path / "cases").is_dir())
    for precision, margin in MARGINS.items():
        for model in models:
            package = scratch / "golden"
            made = ask(binary, "export", model / "checkpoint", "--out", package, "--precision", precision, "--json", "--quiet")
            name = f"{model.parent.name}/{model.name}"
            passed, nodes = (False, made) if isinstance(made, str) else placement(binary, package, provider)
            placements.append({"model": name, "precision": precision, "passed": passed, "nodes": nodes})
            print(f"{'ok  ' if passed else 'FAIL'} {precision} {name}: nodes {nodes if not passed else 'on the card'}")
            for case in sorted(path for path in (model / "cases").iterdir() if path.is_dir()):
                run = ask(binary, "generate", "--model", package, "--provider", provider, "--messages",
                          case / "messages.json", "--max-new-tokens", NEW_TOKENS, "--json", "--quiet")
                passed, steps, why = judge(read_golden(case / "golden.safetensors"), run, margin)
                rows.append({"model": name, "precision": precision, "case": case.name, "passed": passed, "steps": steps,
                             "why": why})
                print(f"{'ok  ' if passed else 'FAIL'} {precision} {name} {case.name}: {why}")
            shutil.rmtree(package, ignore_errors=True)
    failed = sum(not row["passed"] for row in rows + placements)
    steps = sum(row["steps"] for row in rows)
    document = {"provider": provider, "margins": MARGINS, "runs": len(rows), "failed": failed, "steps": steps,
                "cases": rows, "placements": placements}
    (results / "golden.json").write_text(json.dumps(document, indent=1) + "\n")
    print(f"{len(rows)} golden runs, {steps} greedy steps compared, {failed} failures")
    sys.exit(1 if failed or not steps else 0)


if __name__ == "__main__":
    main()
