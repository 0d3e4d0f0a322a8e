"""A text's tokens in words and in a picture, and which models and tokenizers can be used."""

import re
from xml.etree import ElementTree

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_explorer import EVIL, SVG, hears, picture, texts
from tokenizers import Tokenizer, decoders, models
from transformers import (
    AutoModel,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from lorakit import LorakitError
from lorakit.models import empty_model
from widgets import show_attention, show_logits, show_tokens
from widgets.model_text import TOKENS, at_rest, shortened, token_text
from widgets.tokens import NUMBERS

ODD = "é 😀\n\t日\x08 <b> \"quoted\" 'it' &amp;"


@pytest.fixture(scope="module")
def tokenizer(tiny_folder):
    return AutoTokenizer.from_pretrained(tiny_folder)


def sentencepiece():
    """A tokenizer as Llama 2 has one: ▁ for a space, and a piece for each byte."""
    pieces = ["<unk>", "▁the", "▁", "é", "a", "<0x0A>", "<0xE2>"]
    backend = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def test_what_a_token_stands_for(tokenizer):
    def shown(text):
        return [token_text(tokenizer, token_id) for token_id in tokenizer(text).input_ids]

    assert shown("The capital of France is") == ["The", "·capital", "·of", "·France", "·is"]
    assert shown("a\n b") == ["a", "⏎", "·b"]
    assert shown("😀") == ["<0xF0><0x9F>", "<0x98>", "<0x80>"]
    assert shown(" 😀") == ["·<0xF0><0x9F><0x98>", "<0x80>"]
    assert shown("é\x08\t") == ["é", "<0x08>", "<0x09>"]
    assert token_text(tokenizer, tokenizer.eos_token_id) == tokenizer.eos_token
    assert token_text(tokenizer, len(tokenizer) + 5) == f"<id {len(tokenizer) + 5}>"


def test_no_byte_of_any_token_is_lost(tokenizer):
    """What is shown of every tenth token, read back, is the bytes that the tokenizer's own alphabet spells."""
    read = {letter: byte for byte, letter in bytes_to_unicode().items()}
    for token_id in range(len(tokenizer.all_special_ids) + 20, len(tokenizer), 10):
        shown = token_text(tokenizer, token_id).replace("·", " ").replace("⏎", "\n")
        parts = re.split("<0x(..)>", shown)  # text, a byte's number, text, …
        found = b"".join(bytes.fromhex(part) if i % 2 else part.encode() for i, part in enumerate(parts))
        assert found == bytes(read[letter] for letter in tokenizer.convert_ids_to_tokens(token_id)), shown


def test_other_tokenizers():
    tokenizer = sentencepiece()
    assert [token_text(tokenizer, i) for i in range(8)] == [
        "<unk>",
        "·the",
        "·",
        "é",
        "a",
        "⏎",
        "<0xE2>",
        "<id 7>",
    ]


def test_results_and_rows_are_the_text_s_and_the_table_s(tiny, tokenizer):
    model, _ = tiny
    text = "Naïve 😀"
    explorer = show_tokens(model, tokenizer, text)
    ids = tokenizer(text).input_ids
    assert explorer.value == {"text": text}
    assert explorer.describe(explorer.value).results == {
        "Characters": "7",
        "Bytes in UTF-8": "11",
        "Tokens": str(len(ids)),
        "Embedding table": f"{len(tokenizer):,} rows of 64 numbers",
    }
    drawing = ElementTree.fromstring(explorer.drawing)
    numbers = [node.text for node in drawing.iter(f"{SVG}text") if node.get("class") == "number"]
    rows = model.get_input_embeddings().weight[ids, :NUMBERS].flatten().tolist()
    assert [float(number.replace("−", "-")) for number in numbers] == pytest.approx(rows, abs=0.00501)
    cells = [node for node in drawing.iter(f"{SVG}rect") if node.get("class") in ("above", "below")]
    assert [cell.get("class") == "below" for cell in cells] == [number < 0 for number in rows]
    largest = max(map(abs, rows))
    opacities = [float(cell.get("fill-opacity")) for cell in cells]
    assert opacities == pytest.approx([0.65 * abs(number) / largest for number in rows], abs=0.00501)
    titles = [node.text for node in drawing.iter(f"{SVG}title")][len(ids) :]
    assert [float(title) for title in titles] == pytest.approx(rows, rel=1e-5)
    assert texts(drawing)[: 2 * len(ids)] == [
        each for i in ids for each in (shortened(token_text(tokenizer, i)), str(i))
    ]  # each piece in its box, and its id below
    caption = explorer.describe(explorer.value).caption
    assert "Each id names a row of embed_tokens.weight; drawn are the first 20 of its 64 numbers" in caption


def test_a_long_text_says_how_many_tokens_are_left_out(tiny):
    explorer = show_tokens(*tiny, " a" * 40)
    boxes = [node for node in ElementTree.fromstring(explorer.drawing).iter() if node.get("class") == "box"]
    assert len(boxes) == TOKENS
    assert f"; and {40 - TOKENS} more, left out here." in explorer.describe(explorer.value).caption
    explorer.value = {"text": " a" * TOKENS}
    assert "left out" not in explorer.describe(explorer.value).caption


@pytest.mark.parametrize("text", [ODD, EVIL, "</svg><script>alert('1')</script>"])
def test_what_a_learner_types_is_text_in_every_drawing(text, tiny):
    for explorer in (show_tokens(*tiny, text), show_attention(*tiny, text), show_logits(*tiny, text)):
        drawing = ElementTree.fromstring(explorer.drawing)
        assert {node.tag.removeprefix(SVG) for node in drawing.iter()} <= {
            "svg", "style", "g", "title", "text", "tspan", "rect", "path"
        }  # fmt: skip
        svg, _ = picture(explorer)
        assert {node.tag for node in svg.iter()} <= {
            f"{SVG}{tag}" for tag in ("svg", "style", "g", "title", "text", "tspan", "rect", "path")
        }
    _, tokenizer = tiny
    ids = tokenizer(text).input_ids[:TOKENS]
    titles = [node.text for node in ElementTree.fromstring(show_tokens(*tiny, text).drawing).iter(f"{SVG}title")]
    assert titles[: len(ids)] == [token_text(tokenizer, token_id) for token_id in ids]


def test_without_a_kernel_there_is_a_picture(tiny):
    explorer = show_tokens(*tiny)
    svg, alt = picture(explorer)
    shown = texts(svg)
    assert shown[0].startswith("Tokens of tiny")
    assert shown[1:3] == ["text: “The capital of France is”", "Characters: 24"]
    assert "·capital" in shown
    assert "The tokens (and their ids): The (504); ·capital (3575); " in alt


def test_the_picture_and_the_numbers_follow_a_value_set_from_python_or_typed(tiny):
    explorer = show_tokens(*tiny)
    before = explorer.drawing
    explorer.value = {"text": "one two"}
    assert explorer.describe(explorer.value).results["Tokens"] == "2"
    assert explorer.drawing != before
    hears(explorer, {"text": "one two three"})
    assert explorer.describe(explorer.value).results["Tokens"] == "3"
    hears(explorer, {"text": ""})
    assert explorer.value == {"text": "one two three"}
    assert explorer.refused == {"question": {"text": ""}, "why": "the text '' has no token: type a letter at least."}


@pytest.mark.parametrize("show", [show_tokens, show_attention, show_logits])
def test_with_an_adapter_in_bf16_and_in_training_mode(show, tiny):
    """Of all three: dropout is off while they look, and on again after."""
    model, tokenizer = tiny
    lora = LoraConfig(r=4, lora_dropout=0.9, init_lora_weights=False, target_modules=["q_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(model.bfloat16(), lora).train()
    first = show(adapted, tokenizer, "one two three")
    assert adapted.training
    again = show(adapted, tokenizer, "one two three")
    assert (first.numbers, first.drawing) == (again.numbers, again.drawing)
    base = adapted.unload()
    assert (show(base, tokenizer, "one two three").numbers == first.numbers) == (show is show_tokens)


def test_at_rest_puts_training_mode_back_after_an_error(tiny):
    model, _ = tiny
    model.train()
    with pytest.raises(ZeroDivisionError), at_rest(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert model.training
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("show", [show_tokens, show_attention, show_logits])
def test_what_cannot_be_used_is_refused(show, tiny):
    model, tokenizer = tiny
    tiny_llama = LlamaConfig(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=1)
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=97, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    for pair, message in {
        ("SmolLM2", tokenizer): r"str is no model: take the two that load_model\(\) gives, the model first",
        (tokenizer, model): "is no model",
        (model, None): r"NoneType is no tokenizer: take the two that load_model\(\) gives, the tokenizer second",
        (model, model): "LlamaForCausalLM is no tokenizer",
        (AutoModel.from_config(tiny_llama), tokenizer): "LlamaModel is no causal language model",
        (t5, tokenizer): "T5ForConditionalGeneration is no causal language model",
        (empty_model(model), tokenizer): "LlamaForCausalLM has no weights in it",
        (LlamaForCausalLM(tiny_llama), tokenizer): "is not among the 97 rows of the model's table",
    }.items():
        with pytest.raises(LorakitError, match=message):
            show(*pair)
    with pytest.raises(LorakitError, match=r"the text '' has no token: type a letter at least\."):
        show(model, tokenizer, "")
    with pytest.raises(LorakitError, match="text None is no text"):
        show(model, tokenizer, None)


def test_another_architecture_calls_its_table_otherwise(tokenizer):
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=1, n_head=2)
    explorer = show_tokens(GPT2LMHeadModel(config), tokenizer)
    caption = explorer.describe(explorer.value).caption
    assert "a row of wte.weight; drawn are the first 8 of its 8 numbers" in caption
    assert "… 7" not in texts(ElementTree.fromstring(explorer.drawing))
    assert show_logits(GPT2LMHeadModel(config), tokenizer).value["text"] == "The capital of France is"
    with pytest.raises(LorakitError, match="a 'gpt2' model is not built as the lessons say"):
        show_attention(GPT2LMHeadModel(config), tokenizer)
