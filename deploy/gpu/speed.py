"""Speed and memory at real sizes: `speed.py BINARY ROOT SCRATCH RESULTS`. Writes RESULTS/speed.json.

For each size a checkpoint of random weights is made (benches/make_checkpoint.py: numpy), exported, and asked pairs of drawn
pictures and a group of nine; then torch and transformers are asked the same with torch_side.py. What cannot be measured
here is an entry that says why. The file is written after every size, so that what is there stays.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

NEW_TOKENS = 200
SLOTS = "1,4,16,36"


def memory_used():
    """MiB that processes hold on the card."""
    got = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"], capture_output=True,
                         text=True)
    return max((int(line) for line in got.stdout.split() if line.isdigit()), default=None)


def ask(command, limit=1800):
    """What a command printed as JSON in its last line, and the most memory that the card held meanwhile."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    most, done = [None], threading.Event()

    def watch():
        while not done.wait(0.2):
            most[0] = max(filter(None, [most[0], memory_used()]), default=None)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nended after {limit} s"
    done.set()
    watcher.join()
    text = out.strip()
    if process.returncode != 0 or not text:
        lines = err.strip().splitlines()
        return {"failed": f"exit code {process.returncode}: {lines[-1] if lines else 'no answer'}"}
    start = 0 if text.startswith("{\n") else text.rfind("\n") + 1
    return {"got": json.loads(text[start:]), "card_mib": most[0]}


def weight_bytes(package, config, precision):
    """Bytes of weights that a decoding step reads: all of the decoder, but a table that is only gathered from."""
    manifest = json.loads((package / "package.json").read_text())
    decoder = next(entry["size"] for entry in manifest["files"] if entry["path"] == "decoder.weights")
    text = config["text_config"]
    # A tied head is the table itself. In blocks a weight takes a byte, and 32 of them a scale of four.
    a_weight = 2 if precision in ("fp16", "bf16") else 1 + 4 / 32
    return decoder - (0 if config["tie_word_embeddings"] else a_weight * text["vocab_size"] * text["hidden_size"])


def layer_weights(config):
    """Weights that every token of a prompt is multiplied by."""
    text = config["text_config"]
    hidden, heads = text["hidden_size"], text["head_dim"]
    attention = hidden * heads * (2 * text["num_attention_heads"] + 2 * text["num_key_value_heads"])
    return text["num_hidden_layers"] * (attention + 3 * hidden * text["intermediate_size"])


def ours(binary, package, config, precision):
    command = [binary, "bench", "--model", package, "--provider", os.environ["PROVIDER"], "--count", 5, "--group", 9,
               "--slots", SLOTS, "--max-new-tokens", NEW_TOKENS, "--json", "--quiet"]
    measured = ask(command)
    if "failed" in measured:
        return measured
    bench = measured["got"]
    latency = bench["latency"]
    phases, new = latency["phases_ms"], latency["new_tokens"]
    return {
        "card_mib": measured["card_mib"],
        "providers": bench["software"]["providers"],
        "load_ms": bench["load_ms"],
        "prompt_tokens": round(latency["prompt_tokens"]),
        "new_tokens": round(new),
        "vision_ms": phases["vision"],
        "prefill_tokens_per_s": latency["prompt_tokens"] / phases["prefill"] * 1e3,
        "decode_tokens_per_s": (new - 1) / phases["decode"] * 1e3 if phases["decode"] else None,
        "verdict_ms": latency["verdict_ms"],
        "group": [{key: run[key] for key in ("slots", "pairs", "seconds", "verdicts_per_second", "written_per_second")}
                  for run in bench["throughput"]],
        "error": latency["error"],
        "step_bytes": weight_bytes(package, config, precision),
    }


def measure(binary, root, scratch, size):
    here = pathlib.Path(__file__).parent
    checkpoint = scratch / f"checkpoint-{size}"
    tokenizer = ["--tokenizer", os.environ["TOKENIZER"]] if os.environ["TOKENIZER"] else []
    made = subprocess.run([sys.executable, root / "benches/make_checkpoint.py", checkpoint, "--size", size, *tokenizer],
                          capture_output=True, text=True)
    if made.returncode != 0:
        return {"failed": f"no checkpoint: {made.stderr.strip().splitlines()[-1:]}"}
    config = json.loads((checkpoint / "config.json").read_text())
    entry = {"layer_weights": layer_weights(config), "precisions": {}}
    for precision in os.environ["PRECISIONS"].split():
        package = scratch / f"package-{size}-{precision}"
        exported = ask([binary, "export", checkpoint, "--out", package, "--precision", precision, "--json", "--quiet"])
        entry["precisions"][precision] = exported if "failed" in exported else ours(binary, package, config, precision)
        shutil.rmtree(package, ignore_errors=True)
        print(f"{size} {precision}: {json.dumps(entry['precisions'][precision])}", flush=True)
    shown = next((p["prompt_tokens"] for p in entry["precisions"].values() if "prompt_tokens" in p), 2048)
    peer = ask([sys.executable, here / "torch_side.py", "pairs", checkpoint, shown, NEW_TOKENS])
    entry["transformers"] = {**peer.get("got", peer), "card_mib": peer.get("card_mib")}
    print(f"{size} transformers: {json.dumps(entry['transformers'])}", flush=True)
    shutil.rmtree(checkpoint, ignore_errors=True)
    return entry


def main():
    binary, root, scratch, results = (pathlib.Path(arg) for arg in sys.argv[1:])
    limits = ask([sys.executable, pathlib.Path(__file__).parent / "torch_side.py", "limits"])
    document = {"limits": limits.get("got", limits), "sizes": {}}
    for size in os.environ["SIZES"].split():
        document["sizes"][size] = measure(binary, root, scratch, size)
        (results / "speed.json").write_text(json.dumps(document, indent=1) + "\n")
    (results / "speed.json").write_text(json.dumps(document, indent=1) + "\n")
    parts = [size.get("failed") or list(size["precisions"].values()) for size in document["sizes"].values()]
    sys.exit(1 if any(isinstance(part, str) or any("failed" in p for p in part) for part in parts) else 0)


if __name__ == "__main__":
    main()
