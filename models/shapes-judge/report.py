"""The judge's report on two scenes, and the rule by which its winner is decided.

The report is written so that each word follows from what stands before it. For every group it tells what each
picture shows, and puts `(not X)` behind an attribute that the prompt wants otherwise; that is a comparison of the
word just written with one word of the prompt. Scores count those marks; winners follow from scores.

The rule. A: a dimension's points are shared by the difference in faults (none 5:5, one 7:3, two 8:2, more 9:1).
B: clean against faulty is 6:4, else 5:5. C tells the background and is always 5:5. The winner is the one with
more points in A; where those are equal, the one with more in B. A category with equal points goes to the one that
leads so far, and to Image 1 where none does. So no report contradicts itself.
"""
import json
from dataclasses import dataclass

from scenes import BACKGROUNDS, CLEAN, FAULTY, Scene, changed, draw, random_groups

CATEGORIES = ("A. Semantic Alignment & Accuracy", "B. Image Quality & Realism", "C. Aesthetics & Artistry")
DIMENSIONS = {1: ("Objects",), 2: ("Left object", "Right object")}
REASONS_A = {True: "as many faults", False: "fewer faults"}
REASONS_B = {True: "as clean", False: "cleaner"}
REASON_C = "no difference"
REASON = {"alignment": "It follows the prompt more closely.", "quality": "Both follow the prompt alike; it is cleaner."}
KINDS = ("count", "colour", "shape", "sides", "quality", "both")


@dataclass(frozen=True)
class Pair:
    """What is asked: the groups of the prompt, its wording, and the two scenes. `kind` says in what they differ."""
    wanted: tuple
    prompt: str
    scenes: tuple
    kind: str

    def swapped(self):
        """The same pair in the other order."""
        return Pair(self.wanted, self.prompt, self.scenes[::-1], self.kind)

    def pictures(self, rng, size):
        """The two pictures."""
        return [draw(rng, scene, size) for scene in self.scenes]


def described(group, wanted):
    """What is shown, with a mark behind each attribute that is not as wanted; and the number of marks."""
    words, faults = [], 0
    for got, want in zip(group.words(), wanted.words()):
        words.append(got)
        if got.rstrip("s") != want.rstrip("s"):
            words.append(f"(not {want})")
            faults += 1
    return " ".join(words), faults


def share(difference):
    """Points of the first out of ten, where the second has `difference` more faults."""
    points = min(abs(difference), 3)
    return 5 if points == 0 else (6 + points if difference > 0 else 4 - points)


def alignment(pair):
    """The dimensions of category A."""
    dims = []
    for at, name in enumerate(DIMENSIONS[len(pair.wanted)]):
        one, two = (described(scene.groups[at], pair.wanted[at]) for scene in pair.scenes)
        dims.append(dimension(name, one[0], two[0], share(two[1] - one[1])))
    return dims


def dimension(name, reason_1, reason_2, score_1):
    """One dimension in the order in which the format lists its keys."""
    return {"name": name, "reason_1": reason_1, "reason_2": reason_2, "score_1": score_1, "score_2": 10 - score_1}


def margin(dims):
    """Points by which the first leads."""
    return sum(dim["score_1"] - dim["score_2"] for dim in dims)


def name(lead):
    """The winner's words for a lead of the first."""
    return "Image 1" if lead >= 0 else "Image 2"


def report(pair):
    """The whole report as a dictionary, keys in the order of the format. The scenes must differ by the rule."""
    one, two = pair.scenes
    a = alignment(pair)
    b = [dimension("Clarity", one.quality, two.quality, 5 + (one.quality == CLEAN) - (two.quality == CLEAN))]
    c = [dimension("Setting", f"{one.background} background", f"{two.background} background", 5)]
    lead_a, lead_b = margin(a), margin(b)
    winner = name(lead_a or lead_b)
    written = [(a, REASONS_A[lead_a == 0], name(lead_a)), (b, REASONS_B[lead_b == 0], name(lead_b or lead_a)),
               (c, REASON_C, winner)]
    categories = [{"name": title, "dims": dims, "cat_reason": reason, "cat_winner": best}
                  for title, (dims, reason, best) in zip(CATEGORIES, written)]
    reason = REASON["alignment" if lead_a else "quality"]
    return {"prompt": pair.prompt, "categories": categories, "reason": reason, "winner": winner}


def text(document):
    """Compact JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def decided(pair):
    """Whether the rule names a winner."""
    one, two = pair.scenes
    return margin(alignment(pair)) != 0 or (one.quality == CLEAN) != (two.quality == CLEAN)


def wording(rng, groups, free):
    """The prompt's words. `free` is the share of prompts that use others than the canonical ones."""
    if rng.random() >= free:
        return Scene(groups, "", "").phrase()

    def one(group):
        count, colour, shape = group.words()
        count = rng.choice([count, str(group.count)] + (["a"] if group.count == 1 and colour != "orange" else []))
        return f"{count} {colour} {shape}"
    if len(groups) == 2 and rng.random() < 0.5:
        return f"{one(groups[1])} right of {one(groups[0])}"
    return " left of ".join(map(one, groups))


def random_pair(rng, groups=None, free=0.0):
    """A pair with a winner. Of all pairs about 3 in 5 differ in alignment, 1 in 5 in quality, 1 in 5 in both."""
    while True:
        wanted = random_groups(rng, groups)
        shown, kind = [wanted, wanted], "quality"
        draw_kind = rng.random()
        if draw_kind < 0.8:
            shown[0], kind = changed(rng, wanted)
            if rng.random() < 0.25:
                shown[1] = changed(rng, changed(rng, shown[0])[0])[0]
        elif rng.random() < 0.4:
            shown = [changed(rng, wanted)[0]] * 2
        if draw_kind < 0.6:
            qualities = [rng.choice((CLEAN, CLEAN) + FAULTY)] * 2
        else:
            qualities = [CLEAN, rng.choice(FAULTY)]
            rng.shuffle(qualities)
            kind = "both" if draw_kind < 0.8 else kind
        backgrounds = [rng.choice(list(BACKGROUNDS)) for _ in range(2)]
        scenes = [Scene(*parts) for parts in zip(shown, backgrounds, qualities)]
        rng.shuffle(scenes)
        pair = Pair(wanted, wording(rng, wanted, free), tuple(scenes), kind)
        if decided(pair):
            return pair
