"""Makes the picture fixtures and the preprocessing goldens from the reference implementations.

Needs pillow<13, torch, torchvision and transformers 5.x. Run it in this folder; it writes

    *.png *.jpg *.webp      one picture of each odd kind
    pictures.txt            name, tolerance, size under each pixel rule
    expected.bin            Pillow's RGB bytes of all of them, in the order of the table: reference, then displayed
    ../../../runtime/src/preprocess/goldens/*.txt
"""

import io
import pathlib
import random
import struct
import zlib

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor, smart_resize

HERE = pathlib.Path(__file__).parent
GOLDENS = HERE / "../../../runtime/src/preprocess/goldens"
ImageFile.MAXBLOCK = 1 << 24
WIDTH, HEIGHT = 24, 18


def synthetic(width, height):
    """The picture that the Rust tests make by the same formula."""
    y, x, c = np.mgrid[:height, :width, :3].astype(np.int64)
    smooth = (x * 5 + y * 3 + c * 60) % 511
    smooth = np.minimum(smooth, 510 - smooth)
    rough = (x * x * 7 + y * y * 13 + x * y * (c + 2) + c * 91) % 256
    return np.where((x // 9 + y // 7) % 3 == 0, rough, smooth % 256).astype(np.uint8)


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def png(width, height, depth, colour, rows, interlace=0, extra=b""):
    """A PNG from raw rows of bytes (a list of passes when interlaced)."""

    def chunk(kind, payload):
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    raw = b"".join(b"\0" + bytes(row) for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
        + b"".join(chunk(kind, payload) for kind, payload in extra or [])
        + chunk(b"IDAT", zlib.compress(raw, 9))
        + chunk(b"IEND", b"")
    )


def packed(values, depth):
    """Rows of samples as PNG packs them: big-endian words, or several samples a byte."""
    for row in values:
        flat = np.asarray(row).reshape(-1)
        if depth == 16:
            yield flat.astype(">u2").tobytes()
        elif depth == 8:
            yield flat.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in flat)
            bits += "0" * (-len(bits) % 8)
            yield bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def interlaced(values):
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        yield from packed(values[y0::dy, x0::dx], 8)


def encoded(image, kind, **options):
    path = HERE / "scratch.tmp"
    image.save(path, kind, **options)
    data = path.read_bytes()
    path.unlink()
    return data


def pngs(a, words, alpha):
    image, grey = Image.fromarray(a), Image.fromarray(a[..., 1])
    with_alpha = image.copy()
    with_alpha.putalpha(Image.fromarray(alpha))
    exif = Image.Exif()
    exif[0x112] = 6
    other = Image.fromarray(255 - a)
    yield "grey1.png", png(WIDTH, HEIGHT, 1, 0, packed(a[..., 0] >> 7, 1))
    yield "grey2.png", png(WIDTH, HEIGHT, 2, 0, packed(a[..., 0] >> 6, 2))
    yield "grey4.png", png(WIDTH, HEIGHT, 4, 0, packed(a[..., 0] >> 4, 4))
    yield "grey8.png", encoded(grey, "PNG")
    yield "grey16.png", png(WIDTH, HEIGHT, 16, 0, packed(words[..., 0] % 600, 16))
    yield "grey-alpha.png", encoded(with_alpha.convert("LA"), "PNG")
    yield "grey-alpha16.png", png(WIDTH, HEIGHT, 16, 4, packed(words[..., :2], 16))
    yield "grey-trns.png", encoded(grey, "PNG", transparency=int(a[3, 3, 1]))
    yield "palette4.png", encoded(image.quantize(13), "PNG")
    yield "palette8-trns.png", encoded(image.quantize(90), "PNG", transparency=bytes([0, 128, 255, 40]))
    yield "rgb.png", encoded(image, "PNG")
    yield "rgb16.png", png(WIDTH, HEIGHT, 16, 2, packed(words[..., :3], 16))
    yield "rgb-trns.png", encoded(image, "PNG", transparency=tuple(map(int, a[2, 2])))
    yield "rgba.png", encoded(with_alpha, "PNG")
    yield "rgba16.png", png(WIDTH, HEIGHT, 16, 6, packed(words, 16))
    yield "interlaced.png", png(WIDTH, HEIGHT, 8, 2, interlaced(a), interlace=1)
    yield "gamma.png", png(WIDTH, HEIGHT, 8, 2, packed(a, 8), extra=[(b"gAMA", struct.pack(">I", 100000))])
    yield "exif.png", encoded(image, "PNG", exif=exif)
    yield "animated.png", encoded(image, "PNG", save_all=True, append_images=[other])
    yield "animated-default.png", encoded(image, "PNG", save_all=True, append_images=[other], default_image=True)


def jpegs(a):
    image = Image.fromarray(a)
    for subsampling, name in enumerate(["444", "422", "420"]):
        yield f"{name}.jpg", encoded(image, "JPEG", quality=90, subsampling=subsampling)
    yield "420-whole.jpg", encoded(image.resize((32, 32)), "JPEG", quality=90, subsampling=2)
    yield "restarts.jpg", encoded(image, "JPEG", quality=90, subsampling=0, restart_marker_blocks=2)
    yield "progressive.jpg", encoded(image, "JPEG", quality=90, progressive=True)
    yield "grey.jpg", encoded(image.convert("L"), "JPEG", quality=90)
    yield "rgb.jpg", encoded(image, "JPEG", quality=90, keep_rgb=True)
    cmyk = encoded(image.convert("CMYK"), "JPEG", quality=90)
    yield "cmyk.jpg", cmyk
    # The same components declared as YCCK: the transform byte of the Adobe marker.
    at = cmyk.index(b"Adobe") + 11
    yield "ycck.jpg", cmyk[:at] + b"\2" + cmyk[at + 1 :]
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        yield f"exif{orientation}.jpg", encoded(image, "JPEG", quality=90, subsampling=0, exif=exif)


def webps(a, alpha):
    image, with_alpha = Image.fromarray(a), Image.fromarray(a)
    with_alpha.putalpha(Image.fromarray(alpha))
    inverse = Image.fromarray(255 - np.asarray(with_alpha))
    exif = Image.Exif()
    exif[0x112] = 8
    frames = dict(save_all=True, append_images=[inverse], duration=100)
    yield "lossy.webp", encoded(image, "WEBP", quality=80)
    yield "lossy-alpha.webp", encoded(with_alpha, "WEBP", quality=80)
    yield "lossless.webp", encoded(image, "WEBP", lossless=True)
    yield "lossless-alpha.webp", encoded(with_alpha, "WEBP", lossless=True, exact=True)
    yield "exif.webp", encoded(image, "WEBP", quality=80, exif=exif)
    yield "animated-lossy.webp", encoded(with_alpha, "WEBP", quality=80, **frames)
    animated = encoded(with_alpha, "WEBP", lossless=True, exact=True, **frames)
    yield "animated.webp", animated
    # A larger canvas whose first frame covers a part of it.
    wider = bytearray(animated)
    wider[24:30] = struct.pack("<I", WIDTH + 5)[:3] + struct.pack("<I", HEIGHT + 3)[:3]
    frame = animated.index(b"ANMF") + 8
    wider[frame : frame + 6] = b"\2\0\0\1\0\0"
    yield "animated-offset.webp", bytes(wider)


def displayed(data):
    """What a person sees: upright, transparency over white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, -1)
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return np.asarray(image.convert("RGB"))


def pictures():
    rng = np.random.default_rng(1)
    a = synthetic(WIDTH, HEIGHT)
    words = rng.integers(0, 65536, (HEIGHT, WIDTH, 4))
    alpha = rng.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    alpha[:4], alpha[4:8] = 0, 255
    table, expected = [], b""
    for name, data in [*pngs(a, words, alpha), *jpegs(a), *webps(a, alpha)]:
        (HERE / name).write_bytes(data)
        reference, shown = np.asarray(Image.open(HERE / name).convert("RGB")), displayed(data)
        tolerance = 0 if not name.endswith(".jpg") else TOLERANCE.get(name, 2)
        sizes = " ".join(f"{array.shape[1]} {array.shape[0]}" for array in (reference, shown))
        table.append(f"{name} {tolerance} {sizes}\n")
        expected += reference.tobytes() + shown.tobytes()
    (HERE / "pictures.txt").write_text("".join(table))
    (HERE / "expected.bin").write_bytes(expected)


# Largest measured difference of the JPEG decoder from libjpeg-turbo, where it is not 2. The chroma of the
# subsampled ones is 12 wide, so that their last column shows the padding that the decoder interpolates with.
TOLERANCE = {"grey.jpg": 1, "rgb.jpg": 1, "cmyk.jpg": 1, "422.jpg": 27, "420.jpg": 9, "progressive.jpg": 9, "420-whole.jpg": 4}


def resizes():
    cases = [(64, 48, 32, 32), (64, 48, 64, 32), (64, 48, 96, 48), (31, 17, 64, 96), (200, 150, 96, 64), (7, 5, 32, 32)]
    cases += [(1, 1, 32, 32), (300, 2, 64, 32), (97, 203, 64, 128), (128, 128, 37, 41), (33, 500, 33, 96), (250, 33, 11, 7)]
    for width, height, to_width, to_height in cases:
        a = synthetic(width, height)
        tensor = torch.from_numpy(a).permute(2, 0, 1).contiguous()
        by_torch = F.resize(tensor, [to_height, to_width], interpolation=InterpolationMode.BICUBIC, antialias=True)
        by_pillow = Image.fromarray(a).resize((to_width, to_height), Image.BICUBIC)
        hashes = fnv(by_torch.permute(1, 2, 0).numpy().tobytes()), fnv(by_pillow.tobytes())
        yield f"{width} {height} {to_width} {to_height} {hashes[0]:016x} {hashes[1]:016x}\n"


def sizes():
    rng = random.Random(1)
    edges = [(720, 720), (1, 1), (2, 2), (1, 200), (200, 1), (1, 201), (8192, 41), (8192, 40), (16, 48), (48, 80)]
    shapes = edges + [(rng.randint(1, 8192), rng.randint(1, rng.choice([40, 1000, 8192]))) for _ in range(290)]
    for height, width in shapes:
        factor = rng.choice([28, 32])
        least, most = rng.choice([(3136, 12845056), (65536, 16777216), (4096, 36864), (3136, 1003520)])
        try:
            result = "{} {}".format(*smart_resize(height, width, factor, least, most))
        except ValueError:
            result = "refused"
        yield f"{height} {width} {factor} {least} {most} {result}\n"


def patches():
    half, clip = ([0.5] * 3, [0.5] * 3), ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    for width, height, patch, least, most, norm in [(150, 110, 16, 4096, 36864, half), (90, 200, 14, 3136, 12845056, clip)]:
        processor = Qwen2VLImageProcessor(
            patch_size=patch, image_mean=norm[0], image_std=norm[1], size={"shortest_edge": least, "longest_edge": most}
        )
        made = processor(images=[Image.fromarray(synthetic(width, height))], return_tensors="pt")
        values = made["pixel_values"].numpy().astype("<f4")
        grid = " ".join(str(int(n)) for n in made["image_grid_thw"][0])
        yield f"{width} {height} {patch} {least} {most} {grid} {values.shape[1]} {fnv(values.tobytes()):016x}\n"


if __name__ == "__main__":
    pictures()
    GOLDENS.mkdir(exist_ok=True)
    for name, lines in [("resize", resizes()), ("smart_resize", sizes()), ("patches", patches())]:
        (GOLDENS / f"{name}.txt").write_text("".join(lines))
