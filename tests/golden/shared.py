"""What every family's reference has in common: the tokenizer, the pictures, and how values are taken from the
published modules. A family's own part is FAMILY/reference.py."""
import json
from fractions import Fraction

import av
import numpy as np
import torch
import transformers as tf
from PIL import Image, ImageDraw
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.image_utils import SizeDict

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
           "<|image_pad|>", "<|video_pad|>"]
# Control tokens that the published tokenizers do not mark as special: the trap for anyone who only strips special ones.
ADDED = ["<think>", "</think>"]
CORPUS = [
    "Compare Image 1 and Image 2 for the prompt: three red circles left of a blue square. "
    "Semantic alignment, image quality, aesthetics. Image 1 follows the prompt; Image 2 does not. ",
    '{"prompt": "a cat", "categories": [{"name": "Alignment", "dims": [{"name": "Count", "reason_1": "three '
    'circles are shown", "reason_2": "one circle", "score_1": 8, "score_2": 2}], "cat_reason": "clear", '
    '"cat_winner": "Image 1"}], "reason": "overall", "winner": "Image 1"}\n',
    "The video is smooth, stable and physically plausible; the camera moves slowly. Video 2 flickers. ",
    "Größe, café, naïve, 価値, 評価, 图像 1 更好, Пример, emoji 🙂, tabs\tand\nnew lines\n\n  two spaces. ",
    "first compare the content, then give the answer: Image 1 is better, score: 4.25 of 5. ",
]
CHAT = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for item in message.content %}"
    "{%- if item.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif item.type == 'video' %}{{- '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{%- elif item.type == 'text' %}{{- item.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}")


def make_tokenizer(vocab_size, chat, special):
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(CORPUS * 3, trainer)
    fast = tf.PreTrainedTokenizerFast(tokenizer_object=tok, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                      additional_special_tokens=special[1:])
    fast.add_tokens(ADDED)
    fast.chat_template = chat
    return fast


def encode(proc, prompt, images, videos):
    """A prompt and what it shows as the processor gives it to the model, which chooses the frames of videos."""
    return proc(text=[prompt], return_tensors="pt", **({"images": images} if images else {}), **sampled(videos))


def sampled(videos):
    """Videos for a processor that chooses their frames."""
    if not videos:
        return {}
    return dict(videos=[frames for frames, _ in videos], video_metadata=[meta for _, meta in videos],
                do_sample_frames=True)


def legacy_layout(ckpt):
    """Rewrite the folder as transformers 4.x wrote it: the layout of most published checkpoints. Tensors stay."""
    cfg = json.loads((ckpt / "config.json").read_text())
    for part in [cfg, cfg["text_config"], cfg["vision_config"]]:
        rope = part.pop("rope_parameters", None)
        if rope and part is not cfg["vision_config"]:
            part["rope_theta"] = rope.pop("rope_theta")
            part["rope_scaling"] = rope if len(rope) > 1 else None
        if "dtype" in part:
            part["torch_dtype"] = part.pop("dtype")
    (ckpt / "config.json").write_text(json.dumps(cfg, indent=1))
    proc = json.loads((ckpt / "processor_config.json").read_text())
    (ckpt / "processor_config.json").unlink()
    (ckpt / "preprocessor_config.json").write_text(json.dumps(proc["image_processor"], indent=1))
    (ckpt / "video_preprocessor_config.json").write_text(json.dumps(proc["video_processor"], indent=1))
    template = ckpt / "chat_template.jinja"
    (ckpt / "chat_template.json").write_text(json.dumps({"chat_template": template.read_text()}))
    template.unlink()


def picture(rng, w, h):
    """A picture with smooth shading, hard edges and noise, so that a wrong resize filter shows."""
    y, x = np.mgrid[0:h, 0:w]
    base = np.stack([(x * 255 / w), (y * 255 / h), 127 + 120 * np.sin(x / 7 + y / 11)], -1)
    noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 12, base.shape)
    img = Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(img)
    for _ in range(4):
        x0, y0 = rng.randrange(w * 3 // 4), rng.randrange(h * 3 // 4)
        box = [x0, y0, x0 + rng.randrange(8, w // 2), y0 + rng.randrange(8, h // 2)]
        colour = tuple(rng.randrange(256) for _ in range(3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour)
    return img


def write_video(path, frames, fps, w=96, h=64):
    """A square on a changing ground, coded without loss; a key frame every 12."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt, stream.options = w, h, "yuv444p", {"crf": "0", "g": "12"}
        for t in range(frames):
            img = Image.new("RGB", (w, h), (t * 5 % 256, 40, 255 - t * 7 % 256))
            ImageDraw.Draw(img).rectangle([2 * t % w, 10, 2 * t % w + 18, 30], fill=(240, 220, 30))
            for packet in stream.encode(av.VideoFrame.from_image(img)):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


def read_video(path):
    """Every frame, u8 [frames, 3, h, w], and what is known of the video."""
    with av.open(str(path)) as src:
        stream = src.streams.video[0]
        frames = np.stack([f.to_ndarray(format="rgb24") for f in src.decode(stream)])
        fps = float(stream.average_rate)
    meta = dict(total_num_frames=len(frames), fps=fps, width=frames.shape[2], height=frames.shape[1],
                duration=len(frames) / fps, video_backend="pyav")
    return torch.from_numpy(frames).permute(0, 3, 1, 2), meta


def seen(batch):
    """What the tower is given of a chat that shows pictures or videos, not both: values and grids."""
    kind = ("pixel_values", "image_grid_thw") if "pixel_values" in batch else ("pixel_values_videos", "video_grid_thw")
    return batch[kind[0]], batch[kind[1]]


def resized_pictures(proc, images):
    """Each picture as the processor's resize leaves it: uint8 [h, w, 3]."""
    image = proc.image_processor
    size = image.size if isinstance(image.size, SizeDict) else SizeDict(**image.size)
    resized = []
    for picture_ in images:
        pixels = torch.from_numpy(np.array(picture_)).permute(2, 0, 1)[None].contiguous()
        out = image.resize(pixels, size=size, resample=image.resample, factor=image.patch_size * image.merge_size)
        assert out.dtype == torch.uint8
        resized.append(out)
    return resized


def check_resized(proc, resized, pixel_values):
    """Proves that the recorded bytes are the ones that the processor itself went on with."""
    image, rows = proc.image_processor, []
    for pixels in resized:
        normal = image.rescale_and_normalize(pixels, True, image.rescale_factor, True,
                                             tuple(image.image_mean), tuple(image.image_std))
        patches, _, _ = image.patchify(normal, image.patch_size, image.merge_size, image.temporal_patch_size)
        rows.append(patches[0])
    assert torch.equal(torch.cat(rows), pixel_values), "the resized bytes are not those behind pixel_values"


def rope_positions(model, batch):
    """Temporal, height and width positions as the published model counts them, i64 [3, S]."""
    names = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts", "mm_token_type_ids")
    kw = {k: batch[k] for k in names if k in batch}
    positions, _ = model.model.get_rope_index(batch["input_ids"], attention_mask=batch["attention_mask"], **kw)
    return positions[-3:, 0]
