"""What each quant type does to the model: error of its weights, verdicts on reviews, loss on news. Lesson 09 shows it.

    python tests/bench/quant_types.py [--held-out 1000] [--news 500] [--only NAME ...] [--output FILE]

Every linear layer but `lm_head` is quantised and dequantised in place, and nothing is trained. Each variant is paired
with the first, the model as it is, on the same sentences. It is kept in `runs/quant_types/` when it is done: the same
command goes on where it was stopped. No time is recorded, so the machine may do other work meanwhile.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from compare_methods import mean_and_interval, paired_difference, rounded
from machine import ROOT, kept_run, model_name, provenance, refuse_existing, write_record
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lorakit.data import HELD_OUT, load_news, split_reviews
from lorakit.errors import LorakitError
from lorakit.finetune import evaluate
from lorakit.models import compute_dtype, linear_shapes, load_model
from lorakit.quantization import quantize

KEPT = ROOT / "runs" / "quant_types"
AT_ONCE = 16
"""Sentences in memory at once."""


@dataclass(frozen=True)
class Variant:
    """How the linear layers are quantised; not at all where there is no quant type."""

    quant_type: str | None = None
    block_size: int = 64
    double_quant: bool = False
    mirrored: bool = False
    """Quantise -W, and turn the signs back: the same format, and another throw of the dice (nf4 is not symmetric)."""


VARIANTS = {
    "none": Variant(),
    "int8": Variant("int8"),
    "int4": Variant("int4"),
    "fp4": Variant("fp4"),
    "nf4": Variant("nf4"),
    "nf4, double": Variant("nf4", double_quant=True),
    "nf4, blocks of 32": Variant("nf4", 32),
    "nf4, blocks of 256": Variant("nf4", 256),
    "nf4, mirrored": Variant("nf4", mirrored=True),
    "nf4, blocks of 256, mirrored": Variant("nf4", 256, mirrored=True),
}


@torch.no_grad()
def round_weights(model: PreTrainedModel, variant: Variant) -> dict[str, float]:
    """Quantise and dequantise every linear layer but `lm_head`, in place.

    Returns bits a quantised weight, scales included, and the `error`: the root of the mean squared change over that
    of the mean squared weight.
    """
    bits = count = changed = squared = 0.0
    for name in linear_shapes(model):
        weight = model.get_submodule(name).weight
        sign = -1 if variant.mirrored else 1  # nf4 has 8 levels above zero and 7 below it
        quantized = quantize(sign * weight, variant.quant_type, variant.block_size, variant.double_quant)
        rounded = sign * quantized.dequantize()
        changed += (rounded - weight).double().square().sum().item()
        squared += weight.double().square().sum().item()
        bits, count = bits + 8 * quantized.nbytes, count + weight.numel()
        weight.copy_(rounded)
    return {"bits": bits / count, "error": (changed / squared) ** 0.5}


@torch.no_grad()
def text_nats(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> list[tuple[float, int]]:
    """Of each text, the sum of -ln p over its tokens after the first, and how many those are."""
    nats: list[tuple[float, int]] = [(0.0, 0)] * len(texts)
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    dtype = compute_dtype(model)
    for start in range(0, len(texts), AT_ONCE):
        some = by_length[start : start + AT_ONCE]
        batch = tokenizer([texts[i] for i in some], return_tensors="pt", padding=True, padding_side="right")
        batch = batch.to(model.device)
        with torch.autocast(model.device.type, dtype=dtype, enabled=dtype != torch.float32):
            logits = model(**batch, use_cache=False).logits[:, :-1].float()
        read = batch.attention_mask[:, 1:].bool()
        losses = F.cross_entropy(logits.transpose(1, 2), batch.input_ids[:, 1:], reduction="none") * read
        for i, total, tokens in zip(some, losses.sum(1).tolist(), read.sum(1).tolist(), strict=True):
            nats[i] = (total, tokens)
    return nats


def run(variant: Variant, held_out: int, news: int) -> dict:
    """One variant on reviews and news, as it is kept."""
    model, tokenizer = load_model()
    rounded = round_weights(model, variant) if variant.quant_type else {"bits": 8 * model.dtype.itemsize, "error": 0.0}
    sentences = split_reviews()[1][:held_out]
    reviews = evaluate(model, tokenizer, sentences, AT_ONCE)
    verdicts = zip(reviews.predictions, sentences, strict=True)
    return {
        **asdict(variant),
        **{name: round(value, 5) for name, value in rounded.items()},
        "reviews": {name: round(getattr(reviews, name), 4) for name in ("accuracy", "low", "high", "loss", "n")},
        "right": "".join("01"[word == row["completion"]] for word, row in verdicts),
        "nats": text_nats(model, tokenizer, load_news()[:news]),
    }


def with_pairs(runs: dict[str, dict]) -> dict[str, dict]:
    """Each run with its loss on news, and accuracy and that loss minus those of the first, with 95 % intervals.

    The loss is in nats a token: a sentence counts by its tokens. Nats by sentence are not kept.
    """
    first = next(iter(runs.values()))
    right, nats = [mark == "1" for mark in first["right"]], [total for total, _ in first["nats"]]
    for one in runs.values():
        tokens = sum(count for _, count in one["nats"])
        share = len(nats) / tokens  # makes of a sentence's nats its part in the mean over tokens
        more = [share * (total - before) for (total, _), before in zip(one["nats"], nats, strict=True)]
        one["reviews"]["minus_first"] = rounded(paired_difference([mark == "1" for mark in one["right"]], right))
        loss = sum(total for total, _ in one["nats"]) / tokens
        one["news"] = {"loss": round(loss, 4), "n": len(nats), "tokens": tokens}
        one["news"]["minus_first"] = rounded(mean_and_interval(more))
    for one in runs.values():
        del one["nats"]
    return runs


def table(record: dict) -> str:
    """The record for the eye."""
    lines = [record["machine"]["summary"]]
    lines.append(
        f"{'variant':30}{'bits':>7}{'error':>8}{'accuracy':>10}{'minus none':>25}{'news':>8}{'minus none':>26}"
    )
    for name, one in record["runs"].items():
        points, nats = (one[on]["minus_first"] for on in ("reviews", "news"))
        lines.append(
            f"{name:30}{one['bits']:>7.3f}{one['error']:>8.4f}{one['reviews']['accuracy']:>10.3f}"
            f"{points['difference']:>+9.3f} [{points['low']:+.3f}, {points['high']:+.3f}]{one['news']['loss']:>8.4f}"
            f"{nats['difference']:>+9.4f} [{nats['low']:+.4f}, {nats['high']:+.4f}]"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the runs that are missing, then write and print the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help=f"reviews to judge, 2 to {HELD_OUT}")
    parser.add_argument("--news", type=int, default=500, help="sentences of news to read, at least 2")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--output", type=Path, default=ROOT / "lorakit" / "records" / "quant_types.json")
    options = parser.parse_args(arguments)
    if not 2 <= options.held_out <= HELD_OUT:
        parser.error(f"--held-out {options.held_out}: there are {HELD_OUT} held-out sentences, and a pair is the least")
    if options.news < 2:
        parser.error(f"--news {options.news}: two sentences are the least that has an interval")
    refuse_existing(options.output)
    runs = {}
    for name in options.only:
        asked = (VARIANTS[name], options.held_out, options.news)
        runs[name] = kept_run(KEPT, name, [asdict(asked[0]), *asked[1:]], partial(run, *asked))
    write_record(options.output, record := {**provenance(), "model": model_name(), "runs": with_pairs(runs)})
    print(table(record))


if __name__ == "__main__":
    try:
        main()
    except LorakitError as error:
        raise SystemExit(f"quant_types: {error}") from None
