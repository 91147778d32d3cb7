"""What torch reaches on the same card. Prints one line of JSON. Needs torch with CUDA; `pairs` also transformers and Pillow.

    torch_side.py limits                                    bandwidth of a copy and rate of a matrix product, bf16
    torch_side.py pairs CHECKPOINT PROMPT_TOKENS NEW_TOKENS  transformers, bf16, static cache: one pair, then 36 of them
"""
import json
import pathlib
import sys
import time

import torch


def seconds(work, repeats):
    """Mean time of a call, the first ones left out."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def limits():
    source = torch.zeros(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = seconds(lambda: target.copy_(source), 20)
    a = torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda")
    product = seconds(lambda: a @ a, 20)
    return {"bytes_per_s": 2 * source.numel() / copy, "flops_bf16": 2 * 8192**3 / product}


def pictures(count):
    """Drawn pictures of 512x512, each another."""
    import numpy as np
    from PIL import Image
    drawn = []
    for i in range(count):
        squares = np.random.default_rng(i).integers(0, 256, (16, 16, 3))
        drawn.append(Image.fromarray(np.kron(squares, np.ones((32, 32, 1))).astype(np.uint8)))
    return drawn


def timed(model, feed, new_tokens):
    torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.inference_mode():
        model.generate(**feed, do_sample=False, max_new_tokens=new_tokens, min_new_tokens=new_tokens,
                       cache_implementation="static")
    torch.cuda.synchronize()
    return time.perf_counter() - start


def batch_of(inputs, config, shown, prompt_tokens, size):
    """`size` times the same pair: what it holds does not matter to its time."""
    one = inputs(config, shown, prompt_tokens)
    return {name: torch.cat([value] * size).to("cuda") for name, value in one.items()}


def pairs(checkpoint, prompt_tokens, new_tokens):
    import transformers
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches/peers"))
    sys.dont_write_bytecode = True
    from pair import inputs
    model = transformers.Qwen3VLForConditionalGeneration.from_pretrained(
        checkpoint, dtype=torch.bfloat16, attn_implementation="sdpa").eval().to("cuda")
    shown = pictures(2)
    one = batch_of(inputs, model.config, shown, prompt_tokens, 1)
    timed(model, one, new_tokens)
    first, whole = timed(model, one, 1), timed(model, one, new_tokens)
    out = {"prompt_tokens": one["input_ids"].shape[1], "new_tokens": new_tokens, "pair_s": whole,
           "first_token_s": first, "decode_tokens_per_s": (new_tokens - 1) / (whole - first),
           "version": f"torch {torch.__version__}, transformers {transformers.__version__}"}
    for size in (36, 18, 12, 6, 4):
        try:
            feed = batch_of(inputs, model.config, shown, prompt_tokens, size)
            timed(model, feed, 8)
            took = timed(model, feed, new_tokens) * (36 // size)
            return {**out, "group_batch": size, "verdicts_per_second": 36 / took}
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
    return out


def main():
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no card")
    what, *rest = sys.argv[1:]
    print(json.dumps(limits() if what == "limits" else pairs(rest[0], int(rest[1]), int(rest[2]))))


if __name__ == "__main__":
    main()
