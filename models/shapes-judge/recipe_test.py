"""Tests of the recipe: python -m unittest recipe_test (about a minute on two cores)."""
import pathlib
import tempfile
import tomllib
import unittest

import torch
import transformers as tf
from transformers.models.qwen3_vl import modeling_qwen3_vl as reference

import data
import dpo
import evaluate
import model as network
import report
import train
from optim import optimizers, orthogonal
from scenes import CLEAN, SIZE, seeded
from state import Run
from text import HOLE, PACK, PROMPT, Writer, skeleton, tokenizer

TOK = tokenizer()
WRITER = Writer(TOK)
PUBLISHED = reference.Qwen3VLVisionPatchEmbed.forward, reference.Qwen3VLVisionAttention.forward


def pairs(count, free=0.5):
    """Some pairs, of both numbers of groups."""
    return [report.random_pair(seeded("test", at), None, free) for at in range(count)]


def small(layers=2):
    """A model that is quick to build and run."""
    torch.manual_seed(3)
    return network.build(WRITER, hidden=64, layers=layers, vision_hidden=64, vision_layers=3)


class Reports(unittest.TestCase):
    def test_no_report_contradicts_itself_and_the_rule_names_its_winner(self):
        for pair in pairs(2000):
            own = evaluate.parsed(report.text(report.report(pair)))
            self.assertIsNotNone(own)
            self.assertFalse(evaluate.contradicts(own), pair)
            margins = [report.margin(category["dims"]) for category in own["categories"]]
            self.assertEqual(own["winner"], report.name(margins[0] or margins[1]))

    def test_a_swapped_pair_has_the_other_winner(self):
        for pair in pairs(500):
            winners = {report.report(p)["winner"] for p in (pair, pair.swapped())}
            self.assertEqual(winners, {"Image 1", "Image 2"})

    def test_labels_and_kinds_are_balanced(self):
        made = pairs(2000)
        first = sum(report.report(pair)["winner"] == "Image 1" for pair in made) / len(made)
        self.assertAlmostEqual(first, 0.5, delta=0.05)
        self.assertEqual({pair.kind for pair in made}, set(report.KINDS))

    def test_marks_name_what_the_prompt_wants(self):
        wanted, got = (report.random_pair(seeded("x", at), 1).wanted[0] for at in (1, 2))
        words, faults = report.described(got, wanted)
        self.assertEqual(faults, words.count("(not "))
        self.assertEqual(report.described(got, got), (" ".join(got.words()), 0))

    def test_a_clean_picture_of_the_same_scene_wins(self):
        for pair in pairs(500):
            if pair.kind == "quality":
                best = pair.scenes[report.report(pair)["winner"] == "Image 2"]
                self.assertEqual(best.quality, CLEAN)


class Text(unittest.TestCase):
    def test_every_report_is_short_and_comes_back_from_its_tokens(self):
        for pair in pairs(300):
            words = report.text(report.report(pair))
            answer = WRITER.answer(words)
            self.assertEqual(TOK.decode(answer[:-1], clean_up_tokenization_spaces=False), words)
            self.assertLess(len(answer), 120)

    def test_any_other_text_comes_back_too(self):
        for words in ["a café with 12 tables", "価値 🙂\n\n  x", '{"winner": "Image 1"}']:
            self.assertEqual(TOK.decode(WRITER.encode(words), clean_up_tokenization_spaces=False), words)

    def test_the_two_winners_differ_in_one_token(self):
        one, two = (WRITER.encode(skeleton("two red circles") + f'Image {digit}"') for digit in "12")
        self.assertEqual(len(one), len(two))
        self.assertEqual([(a, b) for a, b in zip(one, two) if a != b], [(WRITER.digits["1"], WRITER.digits["2"])])

    def test_the_pack_is_what_training_renders(self):
        pack = tomllib.loads((PACK / "pack.toml").read_text())
        self.assertEqual(PROMPT.count(HOLE), 1)
        self.assertEqual(pack["answer"]["categories"], list(report.CATEGORIES))
        self.assertEqual(pack["answer"]["skeleton"].replace("{caption_json}", "x"), skeleton("x"))

    def test_questions_are_what_the_processor_renders(self):
        pair = pairs(1)[0]
        pictures = pair.pictures(seeded("p"), SIZE)
        content = [{"type": "image", "image": picture} for picture in pictures]
        chat = [{"role": "user", "content": content + [{"type": "text", "text": PROMPT.replace(HOLE, pair.prompt)}]}]
        made = network.processor(TOK).apply_chat_template(chat, add_generation_prompt=True, tokenize=True,
                                                          return_dict=True, return_tensors="pt")
        self.assertEqual(made["input_ids"][0].tolist(), WRITER.asked(pair.prompt))
        self.assertTrue(torch.allclose(made["pixel_values"], network.patches(pictures, frames=2)[0], atol=1e-5))


class Network(unittest.TestCase):
    def tearDown(self):
        reference.Qwen3VLVisionPatchEmbed.forward, reference.Qwen3VLVisionAttention.forward = PUBLISHED

    def test_the_fast_path_and_our_positions_give_the_reference_logits(self):
        model, batch = small(), data.reports(WRITER, seeded("b"), 3, 2, 0.0)
        pictures = report.random_pair(seeded("b"), 2).pictures(seeded("b"), SIZE) * 3
        batch["pixel_values"], _ = network.patches(pictures)
        network.fast_vision()
        fast = network.logits(model, batch)
        self.tearDown()
        batch["pixel_values"], _ = network.patches(pictures, frames=2)
        keep = batch["input_ids"] != WRITER.pad
        slow = model(**{k: batch[k] for k in ("input_ids", "pixel_values", "image_grid_thw", "mm_token_type_ids")},
                     attention_mask=keep.long()).logits
        self.assertLess((fast - slow)[keep].abs().max().item(), 1e-4)

    def test_the_full_model_is_within_its_bound(self):
        self.assertLess(network.parameters(network.build(WRITER)), 8_000_000)

    def test_a_checkpoint_is_read_back_by_the_reference(self):
        model = small()
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "checkpoint"
            network.save_checkpoint(model, TOK, path)
            back = tf.Qwen3VLForConditionalGeneration.from_pretrained(path, dtype=torch.float32)
            again = tf.AutoTokenizer.from_pretrained(path)
        for name, value in model.state_dict().items():
            self.assertTrue(torch.equal(back.state_dict()[name], value.bfloat16().float()), name)
        words = report.text(report.report(pairs(1)[0]))
        self.assertEqual(again(words).input_ids, WRITER.encode(words))

    def test_the_orthogonalised_update_has_singular_values_near_one(self):
        for shape in [(40, 90), (90, 40)]:
            values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
            self.assertTrue(((values > 0.5) & (values < 1.5)).all())


class Training(unittest.TestCase):
    def run_of(self, folder):
        torch.manual_seed(3)
        model = small()
        return Run(folder, model, optimizers(model, 1e-3))

    def steps(self, run, count):
        for _ in range(count):
            loss, _ = train.step(run, WRITER, 4)
            train.update(run, 1e-3)
        return loss

    def test_a_resumed_run_is_the_uninterrupted_one(self):
        network.fast_vision()
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            whole = self.run_of(one)
            expected = self.steps(whole, 4)
            half = self.run_of(two)
            self.steps(half, 2)
            half.save()
            resumed = self.run_of(two)
            half.log(loss=1.0)
            half.step = 4
            half.log(loss=2.0)
            self.assertTrue(resumed.load())
            self.assertAlmostEqual(self.steps(resumed, 2), expected, places=5)
            lines = (pathlib.Path(two) / "log.csv").read_text().splitlines()
            self.assertEqual([line.split(",")[1] for line in lines[1:]], ["2"])

    def test_a_resumed_preference_stage_keeps_what_it_is_measured_against(self):
        with tempfile.TemporaryDirectory() as folder:
            run = self.run_of(folder)
            run.enter("dpo")
            before = run.reference.state_dict()
            for p in (*run.model.parameters(), *run.mean.parameters()):
                p.data.add_(1.0)
            run.save()
            resumed = self.run_of(folder)
            resumed.load()
            for name, value in before.items():
                self.assertTrue(torch.equal(resumed.reference.state_dict()[name], value), name)

    def test_a_step_without_gradients_moves_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            run = self.run_of(folder)
            before = {name: value.clone() for name, value in run.model.state_dict().items()}
            train.update(run, 1e-3)
            self.assertEqual(run.step, 1)
            for name, value in run.model.state_dict().items():
                self.assertTrue(torch.equal(value, before[name]), name)

    def test_learning_rates_warm_up_and_end_at_zero(self):
        for stage, steps in train.STEPS.items():
            rates = [train.rate(stage, at) for at in range(steps)]
            self.assertLess(rates[0], 0.02 * train.LEARNING_RATE[stage])
            self.assertLessEqual(max(rates), train.LEARNING_RATE[stage])
            if train.COOLING[stage]:
                self.assertLess(rates[-1], 0.02 * train.LEARNING_RATE[stage])

    def test_every_stage_lowers_its_loss_on_one_batch(self):
        network.fast_vision()
        for stage in ("captions", "reports"):
            model = small()
            batches, opts, losses = data.step_batches(WRITER, stage, 0, 8, 0.0), optimizers(model, 3e-3), []
            for _ in range(12):
                loss = 0
                for b in batches:
                    part, weight = train.weighted_loss(network.logits(model, b), b["labels"], b["weights"])
                    loss = loss + part / weight
                loss.backward()
                losses.append(loss.item())
                for opt in opts:
                    opt.step()
                    opt.zero_grad()
            self.assertLess(losses[-1], 0.7 * losses[0], stage)

    def test_preferences_raise_the_true_report_over_the_own(self):
        network.fast_vision()
        with tempfile.TemporaryDirectory() as folder:
            run = self.run_of(folder)
            run.enter("dpo")
            pair = pairs(1)[0]
            true = report.text(report.report(pair))
            own = report.text(report.report(pair.swapped()))
            case = [(pair, true, own, pair.pictures(seeded("d"), SIZE))]
            before, _ = dpo.preference(run, WRITER, case)
            for _ in range(5):
                loss, _ = dpo.preference(run, WRITER, case)
                loss.backward()
                train.update(run, 1e-3)
            after, better = dpo.preference(run, WRITER, case)
            self.assertLess(after.item(), before.item())
            self.assertTrue(better.all())


if __name__ == "__main__":
    unittest.main()
