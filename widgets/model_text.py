"""A typed text, and the model that reads it: what several explorers share."""

import contextlib
import re
from collections.abc import Iterator

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from lorakit.errors import LorakitError
from lorakit.lora import last_name
from lorakit.models import model_name
from widgets.explorer import Control, places, printable

TEXT = "The capital of France is"
TEXT_CONTROL = Control("text", "text", "text")
TOKENS = 24
"""How many of a text are drawn at most."""
LETTER, LABEL = 7.9, 14
"""Width of a letter of 13 px; places that a token's text may take."""
BYTES = {letter: byte for byte, letter in bytes_to_unicode().items()}
"""How byte-level tokenizers write bytes in their vocabulary (Radford et al. 2019)."""


def token_text(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    """What a token stands for: a space as ·, a newline as ⏎, a byte that is no whole character as <0xE2>."""
    piece = tokenizer.convert_ids_to_tokens(int(token_id))
    if piece is None:  # a table may have more rows than the tokenizer has pieces
        return f"<id {token_id}>"
    text = tokenizer.convert_tokens_to_string([piece])
    if "▁" in piece:  # SentencePiece's space, of which a first one gets lost
        text = piece.replace("▁", " ")
    elif "\N{REPLACEMENT CHARACTER}" in text and set(piece) <= BYTES.keys():
        text = bytes(BYTES[letter] for letter in piece).decode(errors="surrogateescape")
        text = re.sub("[\udc80-\udcff]", lambda found: f"<0x{ord(found[0]) - 0xDC00:02X}>", text)
    return printable(text).replace(" ", "·")


def shortened(text: str) -> str:
    """The beginning of a token's text, where it is too long for a label."""
    if places(text) <= LABEL:
        return text
    while places(text) >= LABEL:
        text = text[:-1]
    return f"{text}…"


def check_model(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise LorakitError for what is no causal language model, with its weights, and a tokenizer."""
    way_out = "take the two that load_model() gives"
    if not isinstance(model, PreTrainedModel | PeftModel):
        raise LorakitError(f"{type(model).__name__} is no model: {way_out}, the model first.")
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise LorakitError(f"{type(tokenizer).__name__} is no tokenizer: {way_out}, the tokenizer second.")
    if model.get_output_embeddings() is None or model.config.is_encoder_decoder:
        raise LorakitError(f"{type(model).__name__} is no causal language model: {way_out}.")
    if model.device.type == "meta":
        raise LorakitError(f"{type(model).__name__} has no weights in it (device 'meta'): {way_out}.")


def title_of(model: PreTrainedModel | PeftModel) -> str:
    """What a model is called in a title."""
    return model_name(model.config) or type(model).__name__


def encode(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of `text`, at least one; raises LorakitError where there is none, or one is not the model's."""
    ids = tokenizer(text).input_ids
    if not ids:
        raise LorakitError(f"the text {text!r} has no token: type a letter at least.")
    rows = len(embedding_table(model)[1])
    if max(ids) >= rows:
        raise LorakitError(
            f"token id {max(ids)} is not among the {rows:,} rows of the model's table: take the model's own tokenizer."
        )
    return ids


def embedding_table(model: PreTrainedModel | PeftModel) -> tuple[str, Tensor]:
    """The embedding layer's own name, and its table (V, D)."""
    embedding = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if module is embedding)
    return last_name(name), embedding.weight


@contextlib.contextmanager
def at_rest(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Within it, `model` has no dropout and no gradients; training mode is put back after."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
