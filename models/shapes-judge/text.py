"""The tokenizer, the chat template, and prompts and answers as token ids.

The vocabulary is the 256 bytes, every word of the reports, and the frame of a report in a few long pieces: a piece
such as `","reason_1":"` is one token. A report is then about 70 tokens, where a general tokenizer needs 250, and both
training and judging cost by the token. Other text falls back to bytes, one token each; the judge has seen none.
"""
import pathlib
import re

import transformers as tf
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

import report
from scenes import SIZE, seeded

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
           "<|video_pad|>")
PACK = pathlib.Path(__file__).parent / "pack"
HOLE = "{caption}"
PROMPT = (PACK / "prompt.txt").read_text(encoding="utf-8")
CHAT = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for item in message.content %}"
    "{%- if item.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif item.type == 'video' %}{{- '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{%- elif item.type == 'text' %}{{- item.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}")
TOKENS_PER_PICTURE = (SIZE // 32) ** 2

# The digit of a winner stays apart from the frame: it is the verdict token, and it is the one that the scores use too.
FRAME = [
    '{"prompt":"', *(f'"}},{{"name":"{name}","dims":[{{"name":"' for name in report.CATEGORIES[1:]),
    f'","categories":[{{"name":"{report.CATEGORIES[0]}","dims":[{{"name":"', '","categories":[],"reason":"',
    '","reason_1":"', '","reason_2":"', '","score_1":', ',"score_2":', '},{"name":"', '}],"cat_reason":"',
    '","cat_winner":"Image ', '"}],"reason":"', '","winner":"Image ', '"}',
    " (not", " background", " left of", " right of",
    *report.DIMENSIONS[1], *report.DIMENSIONS[2], *report.REASONS_A.values(), *report.REASONS_B.values(),
    report.REASON_C, *report.REASON.values(), *PROMPT.split(HOLE)]


def tokenizer():
    """The tokenizer: the same on every machine, for it is made from lists and not from counts."""
    frame = "|".join(re.escape(piece).replace("/", "\\/") for piece in sorted(set(FRAME), key=len, reverse=True))
    split = Regex(rf"{frame}| ?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]|\s")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    before = pre_tokenizers.Sequence([pre_tokenizers.Split(split, behavior="isolated"), bytes_])
    words = {piece for line in corpus() for piece, _ in before.pre_tokenize_str(line)}
    vocabulary = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary += sorted(words - set(vocabulary))
    tok = Tokenizer(models.BPE({piece: at for at, piece in enumerate(vocabulary)}, [], ignore_merges=True))
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = before
    tok.decoder = decoders.ByteLevel()
    fast = tf.PreTrainedTokenizerFast(tokenizer_object=tok, eos_token=SPECIAL[2], pad_token=SPECIAL[0],
                                      additional_special_tokens=list(SPECIAL[1:]))
    fast.chat_template = CHAT
    return fast


def corpus():
    """Lines that hold every word which may be written, many times over."""
    rng = seeded("corpus")
    for free in [0.0, 1.0] * 1500:
        pair = report.random_pair(rng, free=free)
        yield PROMPT.replace(HOLE, pair.prompt)
        yield report.text(report.report(pair))
        yield skeleton(pair.prompt) + 'Image 1"}'
        yield caption(pair.scenes)
    yield from ("user\n", "assistant\n", "system\n")


def skeleton(prompt):
    """What a verdict-only request puts in the judge's mouth, as pack.toml writes it."""
    return f'{{"prompt":"{prompt}","categories":[],"reason":"","winner":"'


def caption(scenes):
    """The answer of the first training stage: for every picture a line a group, one for quality, one for background.

    Each line begins as the same words begin within a report, so they are the same tokens, and what is learned about
    them here need not be learned again.
    """
    return "\n\n".join("\n".join([" ".join(group.words()) for group in scene.groups] + [
        scene.quality, f"{scene.background} background"]) for scene in scenes)


class Writer:
    """Turns a chat into ids as the chat template and the pack do, without their cost in every training step."""

    def __init__(self, tok):
        """`tok`: what `tokenizer` made, or the same read from a checkpoint."""
        self.tok = tok
        self.ids = {name: tok.convert_tokens_to_ids(name) for name in SPECIAL}
        self.start, self.end, self.pad = self.ids[SPECIAL[1]], self.ids[SPECIAL[2]], self.ids[SPECIAL[0]]
        self.picture = self.ids["<|image_pad|>"]
        self.digits = {digit: tok.convert_tokens_to_ids(digit) for digit in "123456789"}
        frame = {tok(piece, add_special_tokens=False).input_ids[0] for piece in FRAME if piece not in SPOKEN}
        self.frame = frame | {self.ids[SPECIAL[2]]}
        self.cache = {}

    def encode(self, words):
        """Ids of ordinary text."""
        return self.tok(words, add_special_tokens=False).input_ids

    def head(self, pictures, words):
        """Ids of a user turn with `pictures` pictures before `words`, and of the assistant's opening."""
        shown = [self.ids["<|vision_start|>"]] + [self.picture] * TOKENS_PER_PICTURE + [self.ids["<|vision_end|>"]]
        turn = [self.start, *self.encode("user\n"), *shown * pictures, *self.encode(words), self.end]
        return turn + [*self.encode("\n"), self.start, *self.encode("assistant\n")]

    def asked(self, prompt):
        """Ids of the judge's question about two pictures."""
        return self.head(2, PROMPT.replace(HOLE, prompt))

    def unseen(self, prompt):
        """Ids of the question without its pictures."""
        return self.head(0, PROMPT.replace(HOLE, prompt))

    def answer(self, words):
        """Ids of an answer with its end token."""
        return self.encode(words) + [self.end]


# Frame pieces that carry meaning, and so count as fully in the loss as words do.
SPOKEN = {" (not", *report.REASONS_A.values(), *report.REASONS_B.values(), *report.REASON.values()}
