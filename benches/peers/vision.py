"""A peer's vision tower on one picture of 512x512.

    vision.py convert CHECKPOINT OUT.xml        the tower for OpenVINO, with the grid of that picture built in
    vision.py openvino OUT.xml REPEATS          prints one JSON line
    vision.py torch CHECKPOINT REPEATS          the same in 32 bits

The patches are random: the time does not depend on them.
"""
import json
import os
import sys
import time

import numpy as np

GRID = [[1, 32, 32]]
THREADS = len(os.sched_getaffinity(0))
PATCHES = np.random.default_rng(0).standard_normal((1024, 1536), np.float32)


def tower(checkpoint):
    """The tower of transformers for the one grid, giving every tensor that the text part is given by it."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration
    torch.set_num_threads(THREADS)
    model = Qwen3VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="sdpa")

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model.model.visual.eval()

        def forward(self, patches):
            out = self.inner(patches, torch.tensor(GRID))
            flat = []
            for value in out if isinstance(out, tuple) else out.values():
                flat += list(value) if isinstance(value, (tuple, list)) else [value]
            return tuple(flat)
    return Tower()


def convert(checkpoint, out):
    import openvino
    import torch
    with torch.inference_mode():
        model = openvino.convert_model(tower(checkpoint), example_input=torch.from_numpy(PATCHES))
    openvino.save_model(model, out, compress_to_fp16=False)


def with_openvino(model):
    import openvino
    core = openvino.Core()
    program = core.compile_model(core.read_model(model), "CPU", {
        "INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"})
    name = f"OpenVINO {openvino.__version__.split('-')[0]}"
    return (lambda: program([PATCHES])), f"{name}, {program.get_property('INFERENCE_PRECISION_HINT').to_string()}"


def with_torch(checkpoint):
    import torch
    import transformers
    model, patches = tower(checkpoint), torch.from_numpy(PATCHES)

    def run():
        with torch.inference_mode():
            model(patches)
    return run, f"torch {torch.__version__}, transformers {transformers.__version__}, f32"


def main():
    kind, model, last = sys.argv[1:]
    if kind == "convert":
        return convert(model, last)
    run, name = dict(openvino=with_openvino, torch=with_torch)[kind](model)
    times = []
    for _ in range(1 + int(last)):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    print(json.dumps(dict(seconds=times[1:], version=name)))


if __name__ == "__main__":
    main()
