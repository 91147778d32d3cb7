"""Reports written by the judge itself, token by token."""
import torch

from model import patches

LONGEST = 160
"""New tokens at most: the longest true report has about 110."""


@torch.no_grad()
def write(model, writer, pairs, pictures, sample=False, heads=None):
    """The answers to `pairs` with their `pictures` (two each), greedy or sampled, as text without the end token.

    `heads` replaces the question of each pair by other ids. Rows are padded on the left.
    """
    heads = heads or [writer.asked(pair.prompt) for pair in pairs]
    length = max(map(len, heads))
    ids = torch.tensor([[writer.pad] * (length - len(head)) + head for head in heads])
    mask = torch.tensor([[0] * (length - len(head)) + [1] * len(head) for head in heads])
    pixels, grid = patches([picture for two in pictures for picture in two])
    training = model.training
    model.eval()
    out = model.generate(input_ids=ids, attention_mask=mask, pixel_values=pixels, image_grid_thw=grid,
                         mm_token_type_ids=(ids == writer.picture).int(), max_new_tokens=LONGEST, do_sample=sample,
                         eos_token_id=writer.end, pad_token_id=writer.pad, **({"top_k": 0} if sample else {}))
    model.train(training)
    answers = []
    for row in out[:, length:].tolist():
        row = row[:row.index(writer.end)] if writer.end in row else row
        answers.append(writer.tok.decode(row, clean_up_tokenization_spaces=False))
    return answers
