"""Transformers on one pair with pictures: `pair.py bf16|fp32 CHECKPOINT FIRST.png SECOND.png PROMPT_TOKENS NEW_TOKENS`.

Prints one JSON line. The prompt has the number of tokens that rewardrt's has: the two pictures, and text around them.
"""
import json
import os
import sys
import time

import torch
import transformers
from PIL import Image
from transformers import Qwen2VLImageProcessor, Qwen3VLForConditionalGeneration


def inputs(config, pictures, prompt_tokens):
    processor = Qwen2VLImageProcessor(patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3,
                                      image_std=[0.5] * 3, size=dict(shortest_edge=65536, longest_edge=16777216))
    patches = processor(images=pictures, return_tensors="pt")
    ids = []
    for grid in patches["image_grid_thw"]:
        ids += [config.vision_start_token_id, *[config.image_token_id] * int(grid.prod() // 4), config.vision_end_token_id]
    if prompt_tokens < len(ids):
        raise SystemExit(f"{prompt_tokens} tokens do not hold the pictures")
    ids = [10 + i * 31 % 1000 for i in range(prompt_tokens - len(ids))] + ids
    ids = torch.tensor([ids])
    return dict(input_ids=ids, attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == config.image_token_id).long(), **patches)


def main():
    kind, checkpoint, first, second, prompt_tokens, new_tokens = sys.argv[1:]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    dtype = dict(bf16=torch.bfloat16, fp32=torch.float32)[kind]
    model = Qwen3VLForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype, attn_implementation="sdpa").eval()
    pictures = [Image.open(path).convert("RGB") for path in (first, second)]
    start = time.perf_counter()
    with torch.inference_mode():
        feed = inputs(model.config, pictures, int(prompt_tokens))
        out = model.generate(**feed, do_sample=False, max_new_tokens=int(new_tokens), min_new_tokens=int(new_tokens))
    seconds = time.perf_counter() - start
    print(json.dumps(dict(seconds=seconds, new_tokens=out.shape[1] - feed["input_ids"].shape[1],
                          version=f"torch {torch.__version__}, transformers {transformers.__version__}")))


if __name__ == "__main__":
    main()
