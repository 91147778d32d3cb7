"""What a picture shows, in words, and the picture drawn from it.

A scene has one group of objects, or two: one on the left and one on the right. Groups are counted, coloured shapes.
Everything that the judge can be right or wrong about is written in `Scene`; the drawing adds only what does not
matter (places, sizes, the strength of a degradation).
"""
import io
import random
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 96
"""Side of a picture in pixels: 36 patches of 16, nine tokens. The cheapest size at which counts of four are clear."""
COLOURS = {"red": (214, 40, 40), "green": (40, 160, 70), "blue": (40, 90, 215), "yellow": (240, 205, 40),
           "purple": (140, 60, 180), "orange": (245, 130, 30), "black": (25, 25, 25), "white": (245, 245, 245)}
SHAPES = ("circle", "square", "triangle")
COUNTS = ("one", "two", "three", "four")
BACKGROUNDS = {"gray": (150, 150, 150), "pink": (245, 190, 205), "cyan": (170, 225, 230)}
CLEAN = "sharp"
FAULTY = ("blurry", "noisy", "faded", "blocky")
MOST = {1: 4, 2: 2}
"""Most objects of a group, by the number of groups in the scene."""


@dataclass(frozen=True)
class Group:
    """`count` objects (1..4) of one colour and shape."""
    count: int
    colour: str
    shape: str

    def words(self):
        """The attributes as they are written, in order: ("two", "red", "circles")."""
        return COUNTS[self.count - 1], self.colour, self.shape + ("s" if self.count > 1 else "")


@dataclass(frozen=True)
class Scene:
    """One or two groups (left, right), the background's name, and the quality's: `CLEAN` or one of `FAULTY`."""
    groups: tuple
    background: str
    quality: str

    def phrase(self):
        """The scene's objects in the canonical words, left to right."""
        return " left of ".join(" ".join(group.words()) for group in self.groups)


def random_group(rng, groups):
    """A group for a scene of `groups` groups."""
    return Group(rng.randint(1, MOST[groups]), rng.choice(list(COLOURS)), rng.choice(SHAPES))


def random_groups(rng, groups=None):
    """The groups of a scene; their number is drawn where none is given."""
    groups = groups or (1 if rng.random() < 0.5 else 2)
    return tuple(random_group(rng, groups) for _ in range(groups))


def other(rng, values, taken):
    """One of `values` that is not `taken`."""
    return rng.choice([value for value in values if value != taken])


def changed(rng, groups):
    """The groups with one thing changed: a count, a colour, a shape, or left and right exchanged."""
    kinds = ["count", "colour", "shape"]
    if len(groups) == 2 and groups[0] != groups[1]:
        kinds.append("sides")
    kind = rng.choice(kinds)
    if kind == "sides":
        return groups[::-1], kind
    at = rng.randrange(len(groups))
    group = groups[at]
    if kind == "count":
        group = replace(group, count=other(rng, range(1, MOST[len(groups)] + 1), group.count))
    elif kind == "colour":
        group = replace(group, colour=other(rng, COLOURS, group.colour))
    else:
        group = replace(group, shape=other(rng, SHAPES, group.shape))
    return groups[:at] + (group,) + groups[at + 1:], kind


def random_scene(rng, groups=None):
    """A whole scene; half of all pictures are clean."""
    quality = CLEAN if rng.random() < 0.5 else rng.choice(FAULTY)
    return Scene(random_groups(rng, groups), rng.choice(list(BACKGROUNDS)), quality)


def draw(rng, scene, size=SIZE):
    """The scene as an RGB picture of `size` x `size`. Drawn at twice the size and averaged, so that edges are soft."""
    big = 2 * size
    picture = Image.new("RGB", (big, big), BACKGROUNDS[scene.background])
    pen = ImageDraw.Draw(picture)
    width = big / len(scene.groups)
    for at, group in enumerate(scene.groups):
        cells = [(width * (at + (i + 0.5) / 2), big * (j + 0.5) / 2) for i in range(2) for j in range(2)]
        for x, y in rng.sample(cells, group.count):
            radius = rng.uniform(0.6, 0.85) * min(width, big) / 4
            x, y = x + rng.uniform(-0.02, 0.02) * big, y + rng.uniform(-0.03, 0.03) * big
            draw_shape(pen, group.shape, COLOURS[group.colour], x, y, radius)
    return degrade(rng, picture.reduce(2), scene.quality)


def draw_shape(pen, shape, colour, x, y, radius):
    """One object around (x, y)."""
    box = [x - radius, y - radius, x + radius, y + radius]
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([(x, box[1]), (box[0], box[3]), (box[2], box[3])], fill=colour)


def degrade(rng, picture, quality):
    """The picture with one fault, of random strength; clean pictures come back as they are."""
    scale = picture.width / SIZE
    if quality == "blurry":
        return picture.filter(ImageFilter.GaussianBlur(rng.uniform(1.8, 2.8) * scale))
    if quality == "faded":
        pixels = np.asarray(picture, dtype=np.float32)
        keep = rng.uniform(0.25, 0.4)
        return Image.fromarray((pixels * keep + 128 * (1 - keep)).astype(np.uint8))
    if quality == "noisy":
        pixels = np.asarray(picture, dtype=np.float32)
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(pixels.shape, np.float32)
        pixels = pixels + rng.uniform(28, 45) * noise
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if quality == "blocky":
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=rng.randint(2, 5))
        return Image.open(file).convert("RGB")
    return picture


def seeded(*parts):
    """A random generator for a named purpose: training, held-out and example scenes never share a seed."""
    return random.Random("/".join(map(str, parts)))
