"""Eight frames of a video by rewardrt and by its peers: seconds, peak memory, and whether they are the same frames.

    peers.py WORK ROUNDS      all decoders, round after round, each in a process of its own; markdown on stdout
    peers.py --one NAME FILE  one decoder on one file; JSON on stdout: seconds and the sums of the frames

The time of a peer is taken inside its process around opening, decoding and conversion to an RGB array: imports and the start
of the process do not count. Files are in the file cache.
"""

import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

FRAMES = 8
# Repetitions in one process, of which the median counts.
REPEATS = {"short.mp4": 7, "middle.mp4": 3, "long.mp4": 1}
THREADS = os.cpu_count()


def wanted(count):
    import numpy

    return numpy.linspace(0, count - 1, FRAMES).astype(int).tolist()


def opencv_seek(path):
    import cv2

    video = cv2.VideoCapture(path)
    frames = []
    for index in wanted(int(video.get(cv2.CAP_PROP_FRAME_COUNT))):
        video.set(cv2.CAP_PROP_POS_FRAMES, index)
        frames.append(cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB))
    return frames


def opencv_sequential(path):
    import cv2

    video = cv2.VideoCapture(path)
    indices = wanted(int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    frames = []
    for index in range(indices[-1] + 1):
        video.grab()
        if index in indices:
            frames.append(cv2.cvtColor(video.retrieve()[1], cv2.COLOR_BGR2RGB))
    return frames


def pyav_sequential(path):
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        indices = set(wanted(stream.frames))
        frames = container.decode(stream)
        return [frame.to_ndarray(format="rgb24") for n, frame in enumerate(frames) if n in indices]


def pyav_seek(path):
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        step = 1 / (stream.average_rate * stream.time_base)
        frames = []
        for index in wanted(stream.frames):
            at = round(index * step)
            container.seek(at, stream=stream)
            frames.append(next(f for f in container.decode(stream) if f.pts >= at).to_ndarray(format="rgb24"))
        return frames


def decord_batch(path):
    import decord

    video = decord.VideoReader(path, num_threads=THREADS)
    return list(video.get_batch(wanted(len(video))).asnumpy())


def torchcodec(mode):
    def read(path):
        from torchcodec.decoders import VideoDecoder

        video = VideoDecoder(path, seek_mode=mode, num_ffmpeg_threads=THREADS, dimension_order="NHWC")
        return list(video.get_frames_at(wanted(video.metadata.num_frames)).data.numpy())

    return read


PEERS = {
    "OpenCV, seeking": opencv_seek,
    "OpenCV, sequential": opencv_sequential,
    "PyAV, seeking": pyav_seek,
    "PyAV, sequential": pyav_sequential,
    "decord": decord_batch,
    "torchcodec, exact": torchcodec("exact"),
    "torchcodec, approximate": torchcodec("approximate"),
}
SEQUENTIAL = ["OpenCV, sequential", "PyAV, sequential"]
OURS = {"rewardrt, in process": "in-process", "rewardrt, child": "child"}


def one(name, path):
    read, seconds = PEERS[name], []
    for _ in range(REPEATS[pathlib.Path(path).name]):
        start = time.perf_counter()
        frames = read(path)
        seconds.append(time.perf_counter() - start)
    sums = [int(frame.sum(dtype="uint64")) for frame in frames]
    print(json.dumps({"seconds": statistics.median(seconds), "sums": sums}))


def run(name, path):
    """One decoder on one file in a new process; None when it is not installed or fails."""
    if name in OURS:
        command = [os.environ["REWARDRT_VIDEO_BENCH"], OURS[name], path, str(REPEATS[pathlib.Path(path).name])]
    else:
        command = [sys.executable, __file__, "--one", name, path]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        printed = process.stdout.read()
        # The usage that is waited for is that of the process and of the children that it waited for itself.
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            errors.seek(0)
            print(f"{name}: {errors.read().strip().splitlines()[-1:]}", file=sys.stderr)
            return None
    return {**json.loads(printed.strip().splitlines()[-1]), "peak_bytes": usage.ru_maxrss * 1024}


def version(package):
    from importlib import metadata

    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} missing"


def measure(work, rounds):
    """{file: {decoder: its runs}}, and the files' paths."""
    files = [str(pathlib.Path(work) / name) for name in REPEATS]
    runs = {path: {} for path in files}
    for turn in range(rounds):
        for path in files:
            # Read once, so that the first decoder does not wait for the disk.
            with open(path, "rb") as file:
                while file.read(1 << 24):
                    pass
            for name in [*OURS, *PEERS]:
                # Minutes each, and two orders of magnitude: one round tells.
                once = name in SEQUENTIAL and pathlib.Path(path).name == "long.mp4"
                made = None if once and turn > 0 else run(name, path)
                if made:
                    runs[path].setdefault(name, []).append(made)
    return runs


def table(runs):
    """Rows of markdown for one file: the slowest last. Ratios are of runs of the same round."""
    median = {name: statistics.median(r["seconds"] for r in all) for name, all in runs.items()}
    golden = runs.get("PyAV, sequential", [{}])[0].get("sums")
    base = runs["rewardrt, in process"]
    for name in sorted(median, key=median.get):
        ratio = statistics.median(r["seconds"] / b["seconds"] for r, b in zip(runs[name], base))
        spread = [r["seconds"] for r in runs[name]]
        peak = max(r["peak_bytes"] for r in runs[name])
        same = "yes" if runs[name][0]["sums"] == golden else "no"
        yield (f"| {name} | {1e3 * median[name]:,.1f} ms | {1e3 * min(spread):,.1f} to {1e3 * max(spread):,.1f} ms "
               f"| {ratio:.2f} | {peak / 1e6:,.0f} MB | {same} |")


def main(work, rounds):
    before = os.getloadavg()[0]
    runs = measure(work, rounds)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    root = pathlib.Path(__file__).resolve().parents[2]
    commit = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    packages = ", ".join(version(p) for p in ("av", "opencv-python-headless", "decord", "torchcodec"))
    print(f"""# Eight frames of a video

- Command: `benches/video/run.sh WORK {rounds}`, commit {commit}, {datetime.date.today()}
- Machine: {cpu}, {os.cpu_count()} cores, shared with other work: load average {before:.1f} before, {os.getloadavg()[0]:.1f} after
- Peers: {packages}, {THREADS} threads each

Medians of {rounds} rounds, all decoders one after the other in each round (one round for those that decode the
long file from its start). A ratio is the median over rounds of the decoder's time by that of rewardrt in process, in the same round. Peak memory is the largest of a process and its children, Python and its libraries included. The
last column says whether the frames are those of PyAV read from the start (sums of all bytes).""")
    for path, made in runs.items():
        shape = subprocess.run(
            ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height,avg_frame_rate,nb_frames",
             "-of", "csv=p=0", path], capture_output=True, text=True).stdout.strip().split(",")
        width, height, rate, frames = shape[:4]
        size = os.path.getsize(path) / 1e6
        print(f"\n## {frames} frames of {width}x{height}, {rate} a second, h264, {size:,.1f} MB\n")
        print("| decoder | median | all rounds | ratio | peak memory | same frames |\n|---|---|---|---|---|---|")
        print("\n".join(table(made)))
        fastest = {name: statistics.median(r["seconds"] for r in made[name]) for name in SEQUENTIAL if name in made}
        if fastest:
            own = statistics.median(r["seconds"] for r in made["rewardrt, in process"])
            print(f"\nThe fastest that decodes from the start takes {min(fastest.values()) / own:.1f} times as long as rewardrt in process.")


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(sys.argv[2], sys.argv[3])
    else:
        main(sys.argv[1], int(sys.argv[2]))
