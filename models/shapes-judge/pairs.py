"""Writes labelled pairs as files: pictures and a list that `rewardrt eval` reads.

    python pairs.py --out DIR --count 1000     the held-out pairs, the same that evaluate.py judges in memory
    python pairs.py --out examples --examples  six pairs, one of each kind of difference

Each line of DIR/pairs.jsonl: id, prompt, a, b (paths relative to the file), label ("a" or "b"), task, kind.
"""
import argparse
import itertools
import json
import pathlib

import report
from scenes import SIZE, seeded


def held_out(at, free):
    """Held-out pair number `at` and its pictures. No training seed begins with these words."""
    rng = seeded("held-out", at)
    pair = report.random_pair(rng, None, free)
    return pair, pair.pictures(rng, SIZE)


def examples():
    """The first pair of each kind, in canonical words."""
    for kind in report.KINDS:
        for at in itertools.count():
            rng = seeded("example", at)
            pair = report.random_pair(rng)
            if pair.kind == kind:
                yield pair, pair.pictures(rng, SIZE)
                break


def write(folder, made):
    """Pictures and list."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as file:
        for at, (pair, pictures) in enumerate(made):
            names = [f"{at:04}{side}.png" for side in "ab"]
            for name, picture in zip(names, pictures):
                picture.save(folder / name)
            label = "a" if report.report(pair)["winner"] == "Image 1" else "b"
            line = {"id": f"{at:04}", "prompt": pair.prompt, "a": names[0], "b": names[1], "label": label,
                    "task": "image-pair", "kind": pair.kind}
            file.write(json.dumps(line) + "\n")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=pathlib.Path, required=True)
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--free", type=float, default=0.3, help="share of prompts in other than canonical words")
    arguments.add_argument("--examples", action="store_true")
    options = arguments.parse_args()
    write(options.out, examples() if options.examples else (held_out(at, options.free) for at in range(options.count)))


if __name__ == "__main__":
    main()
