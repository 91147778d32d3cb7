"""One peer on one model: `worker.py KIND MODEL CASES` prints one JSON line a case, as `engine.rs` does.

A case is a batch of prompts that are read at once, then steps that add a token to each. No peer is charged for choosing
the token: the same ids are fed to all. KIND is transformers-bf16, transformers-fp32, openvino, genai or llama.
"""
import importlib.metadata
import json
import os
import sys
import time

import numpy as np

THREADS = len(os.sched_getaffinity(0))
WARM_UP = dict(batch=1, prompt=16, steps=3)


def ids(row, prompt):
    return [10 + (i * 31 + row * 7919) % 1000 for i in range(prompt)]


def prompts(batch, prompt):
    return np.array([ids(row, prompt) for row in range(batch)], np.int64)


class Transformers:
    """Static cache, scaled-dot-product attention, logits of the last place only."""

    def __init__(self, model, dtype):
        import torch
        from transformers import AutoModelForCausalLM
        torch.set_num_threads(THREADS)
        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=dtype, attn_implementation="sdpa").eval()
        self.name = f"torch {torch.__version__}, transformers {importlib.metadata.version('transformers')}"

    def start(self, batch, room):
        from transformers import StaticCache
        self.cache, self.past = StaticCache(config=self.model.config, max_cache_len=room), 0

    def run(self, rows):
        torch = self.torch
        places = torch.arange(self.past, self.past + rows.shape[1])
        self.past += rows.shape[1]
        with torch.inference_mode():
            out = self.model(input_ids=torch.from_numpy(rows), past_key_values=self.cache, use_cache=True,
                             logits_to_keep=1, cache_position=places)
        return out.logits[0, -1].float().numpy()


class OpenVino:
    """The stateful model that optimum-intel exports."""

    def __init__(self, model):
        import openvino
        core = openvino.Core()
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]}"
        compiled = core.compile_model(core.read_model(f"{model}/openvino_model.xml"), "CPU", {
            "INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"})
        self.inputs = {i.any_name for i in compiled.inputs}
        self.request = compiled.create_infer_request()

    def start(self, batch, room):
        self.request.reset_state()
        self.past = 0

    def run(self, rows):
        batch, new = rows.shape
        feed = dict(input_ids=rows, attention_mask=np.ones((batch, self.past + new), np.int64),
                    position_ids=np.tile(np.arange(self.past, self.past + new), (batch, 1)),
                    beam_idx=np.arange(batch, dtype=np.int32))
        self.past += new
        out = self.request.infer({k: v for k, v in feed.items() if k in self.inputs}, share_inputs=True,
                                 share_outputs=True)
        return next(iter(out.values()))[0, -1]


class GenAi:
    """onnxruntime-genai chooses its own tokens, greedily: it has no way to be fed others."""

    def __init__(self, model):
        import onnxruntime_genai as og
        self.og = og
        self.name = f"onnxruntime-genai {og.__version__}"
        config = og.Config(model)
        config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": THREADS}}}}))
        self.model = og.Model(config)

    def start(self, batch, room):
        params = self.og.GeneratorParams(self.model)
        params.set_search_options(max_length=room, min_length=room, batch_size=batch, do_sample=False)
        self.generator, self.begun = self.og.Generator(self.model, params), False

    def run(self, rows):
        if self.begun:
            self.generator.generate_next_token()
            return None
        self.begun = True
        self.generator.append_tokens(rows.astype(np.int32))
        logits = np.array(self.generator.get_logits())[0, -1]
        # This one only chooses from the logits of the prompt.
        self.generator.generate_next_token()
        return logits


class Llama:
    """The C functions behind llama-cpp-python, with a cache of its own for each sequence."""

    def __init__(self, model):
        import llama_cpp
        self.c = llama_cpp
        self.name = f"llama-cpp-python {llama_cpp.__version__}"
        self.silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.silence, None)
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(model.encode(), params)
        self.context = None

    def start(self, batch, room):
        c = self.c
        if self.context:
            c.llama_free(self.context)
        params = c.llama_context_default_params()
        # Caches are made in blocks of 256 tokens.
        params.n_ctx = batch * -(-room // 256) * 256
        params.n_batch, params.n_ubatch, params.n_seq_max = 2048, 512, batch
        params.n_threads = params.n_threads_batch = THREADS
        params.kv_unified = False
        self.context, self.past = c.llama_init_from_model(self.model, params), 0

    def run(self, rows):
        # Each prompt is one call, as in its own server; a step is one call for all.
        if rows.shape[1] > 1:
            calls = [[(row, i) for i in range(rows.shape[1])] for row in range(rows.shape[0])]
        else:
            calls = [[(row, 0) for row in range(rows.shape[0])]]
        logits = None
        for call in calls:
            batch = self.c.llama_batch_init(len(call), 0, 1)
            batch.n_tokens = len(call)
            for at, (row, i) in enumerate(call):
                batch.token[at], batch.pos[at] = int(rows[row, i]), self.past + i
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, row
                batch.logits[at] = i == rows.shape[1] - 1
            status = self.c.llama_decode(self.context, batch)
            if status != 0:
                raise RuntimeError(f"llama_decode returned {status}")
            out = self.c.llama_get_logits_ith(self.context, len(call) - 1)
            if logits is None and call[0][0] == 0:
                logits = np.ctypeslib.as_array(out, (self.c.llama_vocab_n_tokens(self.c.llama_model_get_vocab(self.model)),))
                logits = logits.copy() if rows.shape[1] > 1 else None
            self.c.llama_batch_free(batch)
        self.past += rows.shape[1]
        return logits


def measure(peer, batch, prompt, steps):
    rows = prompts(batch, prompt)
    peer.start(batch, prompt + steps + 2)
    start = time.perf_counter()
    logits = peer.run(rows)
    prefill = time.perf_counter() - start
    token, times = rows[:, :1].copy(), []
    for _ in range(steps):
        start = time.perf_counter()
        peer.run(token)
        times.append(time.perf_counter() - start)
    return dict(prefill_s=prefill, steps_s=times, next=int(np.argmax(logits)))


def main():
    kind, model, cases = sys.argv[1:]
    if kind.startswith("transformers-"):
        peer = Transformers(model, {"bf16": "bfloat16", "fp32": "float32"}[kind.split("-")[1]])
    else:
        peer = dict(openvino=OpenVino, genai=GenAi, llama=Llama)[kind](model)
    measure(peer, **WARM_UP)
    for case in json.loads(cases):
        print(json.dumps(measure(peer, **case) | dict(version=peer.name)), flush=True)


if __name__ == "__main__":
    main()
