"""Makes the video fixtures beside it, and what PyAV and OpenCV see in them.

    python make.py            # encode the files (ffmpeg's command line, Pillow), then measure them
    python make.py --measure  # only measure the files that are there

Needs ffmpeg with libx264, libx265, libvpx, libaom; Python with av, opencv-python-headless, numpy, Pillow, and transformers
for the frames that its video processor takes. Encoders write other bytes with every version, so a new run gives new
files; the measured numbers are written anew with them. The README beside it says what stands in which file.
"""

import argparse
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
# Content that moves, so that no two frames are alike.
PICTURE = "testsrc2=size={size}:rate={rate},scroll=horizontal=0.05:vertical=0.03"
# Files that are no fixture of `expected.json`: refused ones, and the checked pixels.
APART = ["audio-only.mp4", "other.ts", "other.flv", "other.h264", "bomb-8192.mp4", "expected.webp"]
X264 = "-c:v libx264 -crf 34 -threads 1 -x264-params keyint={gop}:min-keyint={gop}:scenecut=0"
ODD = "63x47"
MOST_PIXEL_BYTES = 20_000


def ffmpeg(out, arguments, size="64x48", rate=25, frames=24, source=None, after=""):
    """Encodes `frames` of the moving picture, or what `source` names, to `out`."""
    picture = PICTURE.format(size=size, rate=rate)
    if size == ODD:
        # The source makes even sizes only.
        picture = PICTURE.format(size="64x48", rate=rate) + ",scale=63:47,setsar=1"
    given = source or f"-f lavfi -i {picture}"
    command = f"ffmpeg -v error -nostdin -y {given} {arguments} -fflags +bitexact -flags:v +bitexact"
    if source is None:
        command += f" -frames:v {frames}"
    subprocess.run([*command.split(), *after.split(), str(out)], check=True)


def x264(gop=12, extra="", pix="yuv420p"):
    return X264.format(gop=gop) + (f":{extra}" if extra else "") + f" -pix_fmt {pix}"


def colours(matrix, full):
    """Pixels converted to the matrix and range, and marked with them."""
    written = {"bt601": "smpte170m", "bt709": "bt709"}[matrix]
    levels = "full" if full else "limited"
    convert = f"-vf scale=out_color_matrix={matrix}:out_range={levels},format=yuv420p"
    marks = f"-color_range {'pc' if full else 'tv'} -colorspace {written}"
    return f"{convert} {x264(gop=8)} {marks} -color_primaries {written} -color_trc {written}"


def encode(folder):
    """Writes every fixture."""
    at = lambda name: folder / name
    # Ten codecs, in the containers that they usually come in.
    ffmpeg(at("h264.mp4"), x264(extra="bframes=3:b-pyramid=2"), frames=30)
    ffmpeg(at("h264-open-gop.mov"), x264(gop=10, extra="open-gop=1:bframes=3"), frames=30)
    x265 = "-c:v libx265 -crf 34 -x265-params log-level=none:pools=1:keyint=10:min-keyint=10:open-gop=1:bframes=3"
    ffmpeg(at("hevc.mp4"), f"{x265} -pix_fmt yuv420p -tag:v hvc1", frames=24)
    vpx = "-b:v 40k -lag-in-frames 12 -auto-alt-ref 1 -g 16 -threads 1 -pix_fmt yuv420p"
    ffmpeg(at("vp8-alt-ref.webm"), f"-c:v libvpx {vpx} -arnr-maxframes 7", frames=30)
    ffmpeg(at("vp9-alt-ref.webm"), f"-c:v libvpx-vp9 {vpx} -arnr-maxframes 7", frames=30)
    ffmpeg(at("vp9-odd.mkv"), f"-c:v libvpx-vp9 {vpx}", size=ODD, frames=12)
    aom = "-c:v libaom-av1 -cpu-used 6 -crf 45 -b:v 0 -g 12 -lag-in-frames 12 -threads 1 -pix_fmt yuv420p"
    ffmpeg(at("av1.mp4"), aom, frames=20)
    ffmpeg(at("av1.mkv"), aom, frames=9)
    ffmpeg(at("mpeg4.avi"), "-c:v mpeg4 -q:v 9 -bf 2 -g 10 -pix_fmt yuv420p", frames=20)
    ffmpeg(at("mpeg4-odd.avi"), "-c:v mpeg4 -q:v 9 -g 10 -pix_fmt yuv420p", size=ODD, frames=9)
    ffmpeg(at("mjpeg.avi"), "-c:v mjpeg -q:v 14 -pix_fmt yuvj420p", frames=9)
    ffmpeg(at("mjpeg-422.mov"), "-c:v mjpeg -q:v 14 -pix_fmt yuvj422p", frames=5)
    ffmpeg(at("anim.gif"), "-c:v gif", size="40x30", rate=10, frames=6)
    ffmpeg(at("anim.apng"), "-c:v apng -plays 0 -f apng", size="40x30", rate=10, frames=6)
    animation(at("anim.webp"))
    gif_with_delays(at("delays.gif"))

    # Frame rates, counts, containers.
    uneven = "-vf setpts=(N+mod(N\\,3)*0.5+floor(N/8)*5)/25/TB -vsync vfr"
    ffmpeg(at("vfr.mp4"), f"{uneven} {x264(extra='bframes=2')}", frames=24)
    ffmpeg(at("vfr.webm"), f"{uneven} -c:v libvpx {vpx}", frames=24)
    ffmpeg(at("one.mp4"), x264(), frames=1)
    ffmpeg(at("one.gif"), "-c:v gif", size="40x30", frames=1)
    ffmpeg(at("three.mp4"), x264(extra="bframes=2"), frames=3)
    ffmpeg(at("three.webm"), f"-c:v libvpx-vp9 {vpx}", frames=3)
    ffmpeg(at("ntsc.mp4"), x264(), rate="30000/1001", frames=31)
    ffmpeg(at("fragmented.mp4"), x264(), frames=24, after="-movflags frag_keyframe+empty_moov+default_base_moof")
    ffmpeg(at("faststart.mp4"), x264(), frames=12, after="-movflags +faststart")
    ffmpeg(at("streamed.webm"), f"-c:v libvpx {vpx}", frames=20, after="-f webm -live 1")
    ffmpeg(at("late-start.mkv"), f"{x264()} -output_ts_offset 5", frames=12)
    ffmpeg(at("edit-list.mp4"), "-c:v copy", source=f"-ss 0.7 -i {at('h264.mp4')}")
    ffmpeg(at("with-audio.mp4"), f"-map 0:a -map 1:v -shortest -c:a aac -b:a 32k {x264()}", frames=12,
           source=f"-f lavfi -t 0.48 -i sine=440:sample_rate=8000 -f lavfi -i {PICTURE.format(size='64x48', rate=25)}")
    ffmpeg(at("audio-only.mp4"), "-c:a aac -b:a 16k", source="-f lavfi -t 0.3 -i sine=440:sample_rate=8000")

    # Sizes, rotation, colours, fields.
    ffmpeg(at("odd-444.mp4"), x264(pix="yuv444p"), size=ODD, frames=6)
    ffmpeg(at("cropped.mp4"), x264(), size="50x34", frames=6)
    ffmpeg(at("anamorphic.mp4"), f"{x264()} -aspect 2.5", frames=4)
    for degrees in (90, 180, 270):
        ffmpeg(at(f"rotate-{degrees}.mp4"), f"-c:v copy -metadata:s:v rotate={degrees}",
               source=f"-i {at('three.mp4')}")
    for matrix in ("bt601", "bt709"):
        for full in (False, True):
            ffmpeg(at(f"{matrix}-{'full' if full else 'limited'}.mp4"), colours(matrix, full), frames=4)
    ffmpeg(at("bt709-vp9.webm"), "-vf scale=out_color_matrix=bt709:out_range=limited,format=yuv420p -c:v libvpx-vp9 "
           f"{vpx} -color_range tv -colorspace bt709 -color_primaries bt709 -color_trc bt709", frames=4)
    ffmpeg(at("gray.mp4"), x264(pix="gray"), frames=4)
    ffmpeg(at("rgb.mp4"), "-c:v libx264rgb -crf 34 -g 8 -threads 1 -pix_fmt rgb24", frames=4)
    ffmpeg(at("422.mp4"), x264(pix="yuv422p"), frames=4)
    ffmpeg(at("interlaced.mp4"), x264(extra="tff=1"), frames=6, after="-flags:v +bitexact+ilme+ildct")
    ffmpeg(at("hevc-10bit.mp4"), f"{x265} -pix_fmt yuv420p10le -tag:v hvc1", frames=4)
    ffmpeg(at("h264-10bit.mp4"), x264(pix="yuv420p10le"), frames=4)
    ffmpeg(at("vp9-10bit.webm"), "-c:v libvpx-vp9 -b:v 40k -threads 1 -pix_fmt yuv420p10le", frames=4)
    ffmpeg(at("vp9-alpha.webm"), "-c:v libvpx-vp9 -b:v 40k -threads 1 -auto-alt-ref 0 -pix_fmt yuva420p", frames=4)
    bomb = "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 -pix_fmt yuv420p -tag:v hvc1"
    ffmpeg(at("bomb-8192.mp4"), f"{bomb} -frames:v 1", source="-f lavfi -i color=black:size=8192x8192:rate=1")
    resolution_change(folder)
    other_containers(folder)


def animation(path):
    """An animated WebP, lossless, whose frames last 40, 80, 120 .. ms."""
    pictures = [Image.fromarray(wave(40, 30, n)) for n in range(6)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], lossless=True,
                     duration=[40 * (n + 1) for n in range(6)], loop=0)


def gif_with_delays(path):
    """A GIF that draws parts of the canvas, with transparency, other ways to clear it, and delays from 0 to 300 ms."""
    pictures = []
    for n in range(5):
        picture = Image.new("P", (40, 30), 0)
        picture.putpalette([0, 0, 0, 220, 40, 40, 40, 220, 40, 40, 40, 220, 240, 240, 40])
        picture.paste(1 + n % 4, (3 + 6 * n, 4, 12 + 6 * n, 20))
        pictures.append(picture)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[0, 20, 100, 300, 50],
                     transparency=0, disposal=[1, 2, 3, 2, 1], loop=0)


def wave(width, height, n):
    """Colours that move with `n`, RGB8."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [127 + 120 * np.sin((x * a + y * b + 5 * n) / 9.0) for a, b in ((1, 0), (0, 1), (1, 1))]
    return np.stack(channels, -1).astype(np.uint8)


def resolution_change(folder):
    """Two H.264 streams of different sizes joined in one track; the header names the first size."""
    with tempfile.TemporaryDirectory() as scratch:
        parts = []
        for size in ("64x48", "96x64"):
            part = Path(scratch) / f"{size}.h264"
            ffmpeg(part, x264(gop=6, extra="bframes=0"), size=size, frames=6, after="-f h264")
            parts.append(part.read_bytes())
        joined = Path(scratch) / "joined.h264"
        joined.write_bytes(b"".join(parts))
        ffmpeg(folder / "size-changes.mkv", "-c:v copy", source=f"-fflags +genpts -r 25 -i {joined}")
        ffmpeg(folder / "size-changes.mp4", "-c:v copy", source=f"-fflags +genpts -r 25 -i {joined}")


def other_containers(folder):
    """Containers that are not accepted, and the playlists that name files beside them."""
    ffmpeg(folder / "other.ts", "-c:v copy -f mpegts", source=f"-i {folder / 'three.mp4'}")
    ffmpeg(folder / "other.flv", "-c:v copy -f flv", source=f"-i {folder / 'three.mp4'}")
    ffmpeg(folder / "other.h264", "-c:v copy -f h264", source=f"-i {folder / 'three.mp4'}")


def decode(path, threads=True):
    """PyAV: every frame as rgb24 at its own size, its time in seconds, and what the stream says of itself."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if threads:
            stream.thread_type = "AUTO"
        frames, rotation, colours = [], 0, ""
        for frame in container.decode(stream):
            frames.append((frame.to_ndarray(format="rgb24"), frame.pts, frame.time))
            rotation = frame.rotation
            fields = "interlaced" if frame.interlaced_frame else "progressive"
            colours = f"matrix {int(frame.colorspace)}, range {int(frame.color_range)}, {fields}"
        facts = {
            "codec": stream.codec_context.name,
            "container": container.format.name,
            "pixel_format": stream.codec_context.pix_fmt,
            "rate": None if stream.average_rate is None else [stream.average_rate.numerator, stream.average_rate.denominator],
            "time_base": [stream.time_base.numerator, stream.time_base.denominator],
            "stated_frames": stream.frames,
            "rotation": rotation % 360,
            "colours": colours,
        }
    return frames, facts


def pillow(path):
    """Pillow, for the animated WebP that PyAV cannot read: every frame on the whole canvas, its time in milliseconds."""
    frames, at = [], 0
    with Image.open(path) as picture:
        for n in range(picture.n_frames):
            picture.seek(n)
            picture.load()
            frames.append((np.asarray(picture.convert("RGB")), at, at / 1000))
            at += picture.info["duration"]
    facts = {"codec": "webp", "container": "webp", "pixel_format": "rgb", "rate": [1000 * len(frames), at],
             "time_base": [1, 1000], "stated_frames": len(frames), "rotation": 0, "colours": "sRGB"}
    return frames, facts


def opencv(path):
    """OpenCV: the count and rate that it states, and the frames that it reads in order, turned as it turns them."""
    capture = cv2.VideoCapture(str(path))
    stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    fps = capture.get(cv2.CAP_PROP_FPS)
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return stated, fps, frames


def linspace(count, wanted, rounded):
    places = np.linspace(0, count - 1, wanted)
    return (places.round() if rounded else places).astype(int).tolist()


def fps_rule(count, rate):
    """The frames that the Qwen3-VL video processor takes at 2 a second."""
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
    from transformers.video_utils import VideoMetadata

    processor = Qwen3VLVideoProcessor()
    metadata = VideoMetadata(total_num_frames=count, fps=rate, duration=count / rate)
    return [int(i) for i in processor.sample_frames(metadata, fps=2)]


def nearest(ours, theirs):
    """Mean difference of two pictures of one size, else None."""
    return None if ours.shape != theirs.shape else float(np.abs(ours.astype(int) - theirs.astype(int)).mean())


def turned(picture, degrees):
    """A picture turned anticlockwise, as PyAV's `rotation` counts."""
    return np.rot90(picture, degrees // 90)


def measure(path, pixels, kinds):
    """One file's row of `expected.json`; the first frame of each of the `kinds` goes to `pixels`."""
    webp = path.suffix == ".webp"
    frames, facts = pillow(path) if webp else decode(path)
    again, _ = pillow(path) if webp else decode(path, threads=False)
    assert len(again) == len(frames) and all((a[0] == b[0]).all() for a, b in zip(frames, again)), path.name
    count = len(frames)
    stated, cv2_fps, seen = opencv(path)
    rate = facts["rate"]
    # One frame of each kind of picture as pixels, for decoders that are a level off; the hashes hold the others.
    kind = (facts["codec"], facts["pixel_format"], facts["colours"], frames[0][0].shape)
    new = kind not in kinds and frames[0][0].nbytes <= MOST_PIXEL_BYTES
    kinds.add(kind)
    checked = [count // 2] if new else []
    row = {
        "file": path.name,
        **facts,
        "frames": count,
        "sizes": sizes([f[0].shape for f in frames]),
        "pts": [f[1] for f in frames],
        "sha256": [hashlib.sha256(f[0].tobytes()).hexdigest()[:16] for f in frames],
        "checked": checked,
        "linspace_trunc_8": linspace(count, 8, False),
        "linspace_round_8": linspace(count, 8, True),
        "fps_2": fps_rule(count, rate[0] / rate[1]) if rate else None,
        "opencv": {
            "stated_frames": stated,
            "fps": cv2_fps,
            "frames": len(seen),
            "linspace_trunc_8": linspace(stated, 8, False) if stated > 0 else None,
        },
    }
    if len(seen) == count:
        pairs = list(zip(frames, seen))
        upright = [nearest(turned(a[0], facts["rotation"]), b) for a, b in pairs]
        plain = [nearest(a[0], b) for a, b in pairs]
        row["opencv"]["mean_difference"] = worst(upright)
        row["opencv"]["mean_difference_unturned"] = worst(plain)
    for index in checked:
        pixels.append(frames[index][0])
    return row


def worst(differences):
    return None if any(d is None for d in differences) else round(max(differences), 3)


def sizes(shapes):
    """[width, height] of all frames, or of each where they differ."""
    each = [[shape[1], shape[0]] for shape in shapes]
    return each[:1] if all(size == each[0] for size in each) else each


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", action="store_true")
    arguments = parser.parse_args()
    if not arguments.measure:
        encode(HERE)
    rows, pixels, kinds = [], [], set()
    suffixes = {".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif", ".apng", ".webp"}
    for path in sorted(p for p in HERE.iterdir() if p.suffix in suffixes and p.name not in APART):
        rows.append(measure(path, pixels, kinds))
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (HERE / "expected.json").write_text(f"[\n{lines}\n]\n")
    strip(pixels)


def strip(pixels):
    """All checked frames, one after the other, as the rows of one lossless picture."""
    data = b"".join(p.tobytes() for p in pixels)
    width = 64
    rows = -(-len(data) // (3 * width))
    padded = np.frombuffer(data.ljust(rows * width * 3, b"\0"), np.uint8).reshape(rows, width, 3)
    Image.fromarray(padded).save(HERE / "expected.webp", lossless=True, quality=100, method=6)


if __name__ == "__main__":
    main()
