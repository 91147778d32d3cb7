"""Draws a run's log as a picture: loss and teacher-forced accuracies over the steps of all stages.

    python plot.py [--log .state/log.csv] [--out curves.png]
"""
import argparse
import csv
import pathlib

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt

SHARES = {"exact": "whole answers", "evidence": "words of evidence", "verdict": "scores and winners (dpo: own wrong reports, less likely than the truth)"}


def read(path):
    """The log's lines with a step that counts on over the stages, and where each stage begins."""
    lines, begins, base, last = [], {}, 0, 0
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["stage"] not in begins:
                begins[row["stage"]] = base = last
            last = base + int(row["step"])
            lines.append({"step": last, "loss": float(row["loss"]), **{key: float(row[key]) for key in SHARES}})
    return lines, begins


def draw(lines, begins, out):
    """Writes the picture."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 7), sharex=True)
    steps = [line["step"] for line in lines]
    above.semilogy(steps, [line["loss"] for line in lines], color="black", linewidth=1)
    above.set_ylabel("weighted loss")
    for key, label in SHARES.items():
        below.plot(steps, [line[key] for line in lines], linewidth=1, label=label)
    below.set_ylabel("share right, teacher-forced")
    below.set_xlabel("step")
    below.set_ylim(0, 1.02)
    below.legend(loc="lower right")
    for axis in (above, below):
        axis.grid(alpha=0.3)
        for stage, at in begins.items():
            axis.axvline(at, color="gray", linewidth=0.8)
            axis.annotate(stage, (at, axis.get_ylim()[1]), xytext=(3, -12), textcoords="offset points", fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = pathlib.Path(__file__).parent
    arguments.add_argument("--log", type=pathlib.Path, default=here / ".state" / "log.csv")
    arguments.add_argument("--out", type=pathlib.Path, default=here / "curves.png")
    options = arguments.parse_args()
    draw(*read(options.log), options.out)


if __name__ == "__main__":
    main()
