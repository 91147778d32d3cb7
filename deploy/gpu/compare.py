"""Compares what check.sh ran with the goldens, prints a table and writes RESULTS/CARD.json. Standard library only.

A run passes when its prompt ids are the golden ones and its greedy ids are the golden ones up to the first step whose
golden margin is under MARGIN: from there on a rounding may rightly choose the other token.
"""
import json
import pathlib
import re
import struct
import sys

# 16-bit floats keep 11 bits and the goldens' logits reach about 32: one unit in the last place there is 0.03, and a
# logit gathers a few of them on its way.
MARGIN = 0.15


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


def judge(golden, run):
    """(passed, greedy steps that were compared, why) of one run."""
    if run is None:
        return False, 0, "no answer: run the command of check.sh by hand to see the error"
    if list(golden["input_ids"]) != run["prompt_ids"]:
        return False, 0, "prompt ids differ"
    for step, (want, margin) in enumerate(zip(golden["new_ids"], golden["margins"])):
        if margin < MARGIN:
            return True, step, f"equal for {step} steps; margin {margin:.4f} there"
        if step >= len(run["new_ids"]) or run["new_ids"][step] != want:
            return False, step, f"step {step} differs at a margin of {margin:.4f}"
    return True, len(golden["new_ids"]), f"all {len(golden['new_ids'])} steps equal"


def load(path):
    text = path.read_text() if path.exists() else ""
    return json.loads(text) if text.strip() else None


def main():
    goldens, results, card, driver, provider, precision = sys.argv[1:]
    results, rows = pathlib.Path(results), []
    for file in sorted(pathlib.Path(goldens).glob("*/cases/*/golden.safetensors")):
        model, case = file.parts[-4], file.parts[-2]
        run = load(results / f"{model}.{case}.warm.json")
        passed, steps, why = judge(read_golden(file), run)
        rows.append({"model": model, "case": case, "passed": passed, "steps": steps, "why": why,
                     "timing_ms": run and run["timing_ms"]})
        print(f"{'ok  ' if passed else 'FAIL'} {model:<24} {case:<14} {why}  {run and run['timing_ms']}")
    failed, steps = sum(not row["passed"] for row in rows), sum(row["steps"] for row in rows)
    name = re.sub(r"[^A-Za-z0-9]+", "-", card).strip("-").lower()
    document = {"card": card, "driver": driver, "provider": provider, "precision": precision, "margin": MARGIN,
                "runs": len(rows), "failed": failed, "steps": steps, "cases": rows}
    (results / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    print(f"{len(rows) - failed} of {len(rows)} passed on {card}, {steps} greedy steps compared; written to {results / (name + '.json')}")
    sys.exit(1 if failed or not steps else 0)


if __name__ == "__main__":
    main()
