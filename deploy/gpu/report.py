"""Puts what check.sh measured together: `report.py ROOT RESULTS`. Standard library only.

Writes benches/results/gpu-CARD.json, and the table of the card between its marks in benches/README.md.
"""
import datetime
import json
import pathlib
import re
import sys

# What issue and design ask for at least, as shares of the card's own limits or of transformers.
DECODE = {"bf16": 0.50, "int4": 0.35}
PREFILL, GROUP = 0.40, 5.0


def load(path):
    return json.loads(path.read_text()) if path.exists() else None


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def share(value, limit, goal):
    """A share with a mark when it misses its goal."""
    if value is None or not limit:
        return "-"
    reached = value / limit
    return f"{100 * reached:.0f} %" + ("" if goal is None or reached >= goal else f" (under {100 * goal:.0f} %)")


def rows(speed):
    limits = speed["limits"]
    for size, entry in speed["sizes"].items():
        if "failed" in entry:
            yield [size, entry["failed"], *["-"] * 7]
            continue
        peer = entry["transformers"]
        for precision, got in entry["precisions"].items():
            if "failed" in got:
                yield [f"{size} {precision}", got["failed"], *["-"] * 7]
                continue
            decode, prefill = got["decode_tokens_per_s"], got["prefill_tokens_per_s"]
            bound = limits.get("bytes_per_s", 0) / got["step_bytes"]
            rate = 2 * entry["layer_weights"] * prefill
            best = max((run["verdicts_per_second"] for run in got["group"]), default=None)
            theirs = peer.get("verdicts_per_second")
            ratio = "-" if not (best and theirs) else f"{best / theirs:.1f}x" + ("" if best / theirs >= GROUP else f" (under {GROUP:.0f}x)")
            yield [f"{size} {precision}", number(got["vision_ms"] / 2, 1), number(prefill),
                   share(rate, limits.get("flops_bf16"), PREFILL), number(decode, 1),
                   share(decode, bound, DECODE.get(precision)), number(best, 2), ratio, number(got["card_mib"])]
        if "failed" in peer:
            yield [f"{size} transformers", peer["failed"], *["-"] * 7]
        else:
            yield [f"{size} transformers bf16", "-", number(peer["prompt_tokens"] / peer["first_token_s"]), "-",
                   number(peer["decode_tokens_per_s"], 1), "-", number(peer.get("verdicts_per_second"), 2), "1x",
                   number(peer.get("card_mib"))]


def table(card, date, golden, speed):
    head = ["", "a picture, ms", "prefill, tokens/s", "of the matrix rate", "decode, tokens/s", "of the bandwidth",
            "36 pairs, verdicts/s", "against transformers", "card, MiB"]
    lines = [f"**{card}**, {date}", ""]
    if golden:
        lines += [f"{golden['runs']} golden runs on {golden['provider']}, {golden['steps']} greedy steps compared, "
                  f"{golden['failed']} failures.", ""]
    if speed:
        lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(row) + " |" for row in rows(speed)]
    return "\n".join(lines)


def main():
    root, results = (pathlib.Path(arg) for arg in sys.argv[1:])
    card, driver, memory = (part.strip() for part in (results / "card").read_text().split(",")[:3])
    date = datetime.date.today().isoformat()
    golden, speed = load(results / "golden.json"), load(results / "speed.json")
    name = re.sub(r"[^A-Za-z0-9]+", "-", card).strip("-").lower()
    document = {"card": card, "driver": driver, "memory": memory, "date": date, "golden": golden, "speed": speed}
    out = root / "benches/results" / f"gpu-{name}.json"
    out.write_text(json.dumps(document, indent=1) + "\n")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = f"{begin}\n{table(card, date, golden, speed)}\n{end}\n"
    readme = root / "benches/README.md"
    before = readme.read_text()
    old = re.compile(re.escape(begin) + ".*?" + re.escape(end) + "\n", re.S)
    mark = "<!-- cards -->\n"
    after = old.sub(lambda _: text, before) if old.search(before) else before.replace(mark, mark + text, 1)
    readme.write_text(after)
    print(f"{text}\nwritten to {out}")


if __name__ == "__main__":
    main()
