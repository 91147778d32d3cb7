#!/usr/bin/env python3
"""The whole job: a group of pictures, all pairs of it, on the checkpoint that `run.py` made in WORK.

    python3 benches/peers/group.py WORK [--items 6] [--new-tokens 64] [--rounds 3] >> benches/results/peers.md

rewardrt ranks the group; transformers judges its pairs one by one, so that one pair is timed in each round and counted
for all. The weights are random and write no report: every answer has the same number of tokens, `--new-tokens`.
Then the vision tower alone, one picture at a time.
"""
import argparse
import json
import os
import pathlib
import statistics
import sys

sys.dont_write_bytecode = True
import run as peers  # noqa: E402

PROMPT = "a painting of an ocean with clouds and birds, day time, low depth field effect"
OURS = ["int4", "int8", "w8a8", "fp32"]
NOT_DONE = [
    ("llama.cpp", "not measured: its text part runs (above), its vision path wants a converted projector and a server; "
                  "this harness has neither yet"),
    ("onnxruntime-genai", "cannot: its pipeline drops the features that this tower feeds into later layers"),
    ("OpenVINO", "not measured: the exporter's version that has this family is not what the text rows use"),
]


def pictures(work, python, items):
    """Drawn pictures of 512x512, each another."""
    folder = work / "pictures"
    if not folder.exists() or len(list(folder.glob("*.png"))) < items:
        folder.mkdir(exist_ok=True)
        script = ("import sys, numpy as np; from PIL import Image\n"
                  "for i in range(int(sys.argv[2])):\n"
                  "    r = np.random.default_rng(i); a = np.kron(r.integers(0, 256, (16, 16, 3)), np.ones((32, 32, 1)))\n"
                  "    Image.fromarray(a.astype(np.uint8)).save(f'{sys.argv[1]}/{i}.png')")
        peers.run([python, "-c", script, folder, items])
    return [folder / f"{i}.png" for i in range(items)]


def rank(work, precision, shown, new_tokens):
    """Seconds of a ranking without the load, its pairs and its tokens."""
    out = peers.run([work.binary("rewardrt"), "rank", "--json", "--quiet", "--model", work.model(f"rewardrt-{precision}"),
                     "--prompt", PROMPT, "--max-new-tokens", new_tokens, *shown])
    got = json.loads(out)
    t, pairs = got["timing_ms"], len(got["pairs"])
    if got["usage"]["new_tokens"] != pairs * new_tokens:
        raise RuntimeError(f"{got['usage']['new_tokens']} tokens were written, not {pairs * new_tokens}")
    return dict(seconds=(t["preprocess"] + t["vision"] + t["pairs"]) / 1e3, pairs=pairs,
                prompt=got["usage"]["prompt_tokens"] // pairs)


def pair(work, kind, shown, prompt, new_tokens):
    out = peers.run([work.python("transformers"), peers.HERE / "pair.py", kind, work.model("whole"), *shown[:2], prompt,
                     new_tokens])
    got = json.loads(out.strip().splitlines()[-1])
    if got["new_tokens"] != new_tokens:
        raise RuntimeError(f"{got['new_tokens']} tokens were written, not {new_tokens}")
    return got["seconds"]


def measure(work, shown, args):
    """Seconds of the whole group by engine, a list of rounds; problems; pairs; tokens of a prompt."""
    rounds, problems, pairs, prompt = {}, {}, 0, 0

    def attempt(name, job):
        if name in problems:
            return None
        try:
            return job()
        except (OSError, RuntimeError, KeyError) as error:
            problems[name] = str(error)
            return None
    for number in range(args.rounds):
        for precision in OURS:
            got = attempt(f"rewardrt {precision}", lambda: rank(work, precision, shown, args.new_tokens))
            if got:
                rounds.setdefault(f"rewardrt {precision}", []).append(got["seconds"])
                pairs, prompt = got["pairs"], got["prompt"]
        for kind in ["fp32", "bf16"]:
            name = f"transformers {kind}, one by one"
            got = attempt(name, lambda: pair(work, kind, shown, prompt, args.new_tokens))
            if got:
                rounds.setdefault(name, []).append(got * pairs)
        print(f"round {number + 1}", json.dumps(rounds), file=sys.stderr, flush=True)
    return rounds, problems, pairs, prompt


def tower(work, shown, rounds):
    """Milliseconds of the vision tower on one picture by engine, medians; and what went wrong."""
    times, problems, model = {}, {}, work.model("vision.xml")
    script, python = peers.HERE / "vision.py", work.python("openvino")

    def ours(precision):
        # Two pictures that are judged without a report: the tower sees one at a time.
        out = peers.run([work.binary("rewardrt"), "compare", "--json", "--quiet", "--verdict-only", "--model",
                         work.model(f"rewardrt-{precision}"), "--prompt", PROMPT, *shown[:2]])
        return f"rewardrt, tower of the {precision} package", json.loads(out)["timing_ms"]["vision"] / 2

    def theirs(kind, source):
        got = json.loads(peers.run([python, script, kind, source, 2]).strip().splitlines()[-1])
        return got["version"], 1e3 * min(got["seconds"])
    jobs = {f"rewardrt {precision}": lambda precision=precision: ours(precision) for precision in ["fp32", "int8", "w8a8"]}
    jobs["OpenVINO"] = lambda: theirs("openvino", model)
    jobs["torch"] = lambda: theirs("torch", work.model("whole"))
    if not model.exists():
        try:
            peers.run([python, script, "convert", work.model("whole"), model])
        except RuntimeError as error:
            problems["OpenVINO"] = str(error)
    for _ in range(rounds):
        for name, job in jobs.items():
            try:
                if name not in problems:
                    label, ms = job()
                    times.setdefault(label, []).append(ms)
            except (OSError, RuntimeError, KeyError) as error:
                problems[name] = str(error)
    return {label: statistics.median(values) for label, values in times.items()}, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--items", type=int, default=6)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    work = peers.Work(argparse.Namespace(work=args.work, tokenizer=None, no_setup=True))
    shown = pictures(work.folder, work.python("transformers"), args.items)
    rounds, problems, pairs, prompt = measure(work, shown, args)
    medians = {name: statistics.median(values) for name, values in rounds.items()}
    best = min((seconds for name, seconds in medians.items() if name.startswith("rewardrt")), default=None)
    rows = [[name, f"{seconds:.1f}", f"{60 * pairs / seconds:.2f}", f"{seconds / best:.2f}" if best else "-"]
            for name, seconds in sorted(medians.items(), key=lambda item: item[1])]
    rows += [[name, f"not measured: {why}", "", ""] for name, why in problems.items()]
    rows += [[name, why, "", ""] for name, why in NOT_DONE]
    print(f"""
## The whole group job

{args.items} pictures of 512x512, {pairs} pairs in one order, {prompt} prompt tokens and {args.new_tokens} written tokens a
pair; the checkpoint above with its vision tower (24 layers of 1024). Command: `benches/peers/group.py WORK --items
{args.items} --new-tokens {args.new_tokens} --rounds {args.rounds}`; medians of {args.rounds} interleaved rounds, without loading.
{os.cpu_count()} cores. Transformers is timed on one pair a round and counted for all: it judges one by one.

{peers.table(["engine", "seconds", "verdicts per minute", "times as long as the fastest rewardrt"], rows)}""")

    times, problems = tower(work, shown, args.rounds)
    rows = [[label, f"{ms:.0f}"] for label, ms in sorted(times.items(), key=lambda item: item[1])]
    rows += [[name, f"not measured: {why}"] for name, why in problems.items()]
    print(f"""
## The vision tower

24 layers of 1024 on one picture of 512x512: 1024 patches, 256 tokens. Medians of {args.rounds} interleaved rounds; a peer's
round is the better of two runs after a first one, rewardrt's the mean of two pictures.

{peers.table(["engine", "ms"], rows)}""")


if __name__ == "__main__":
    main()
