import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt

from lorakit import LorakitError
from lorakit.lora import count_lora_parameters
from lorakit.models import empty_model, linear_shapes, load_model, weight_bytes
from lorakit.quantization import base_bytes, layer_bytes


def test_hand_worked_examples():
    # 100 x 30 weights: 1500 bytes of codes, 47 blocks (the last not full), 1 group of scales
    assert layer_bytes(100, 30, "nf4", True, torch.float32) == 1500 + 47 + 4
    assert layer_bytes(100, 30, "fp4", False, torch.float32) == 1500 + 47 * 4
    assert layer_bytes(100, 30, "int8", True, torch.float32) == 3000 + 30 * 4
    assert layer_bytes(100, 30, None, True, torch.float32) == 12_000
    assert layer_bytes(100, 30, None, True, torch.bfloat16) == 6_000
    assert layer_bytes(3, 3, "nf4", False, torch.float32) == 5 + 4  # an odd number of codes


def test_an_unknown_quant_type_is_named():
    with pytest.raises(LorakitError, match="quant_type 'int4' is unknown"):
        layer_bytes(64, 64, "int4", True, torch.float32)


def bytes_of(model):
    """All that a loaded base keeps: its weights as they are stored, and the scales beside them."""
    size = weight_bytes(model)
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            state = layer.weight.quant_state
            size += state.absmax.nbytes + (state.state2.absmax.nbytes if state.nested else 0)
        elif isinstance(layer, Linear8bitLt):
            size += layer.weight.SCB.nbytes
    return size


@pytest.mark.parametrize(
    ("quant_type", "double_quant"), [(None, True), ("int8", True), ("nf4", True), ("nf4", False), ("fp4", True)]
)
def test_a_loaded_base_fills_just_these_bytes(tiny_folder, quant_type, double_quant):
    model, _ = load_model(tiny_folder, quant_type=quant_type, double_quant=double_quant, device="cpu")
    empty = empty_model(model)
    found = base_bytes(empty.num_parameters(), linear_shapes(empty), quant_type, double_quant, torch.float32)
    assert found == bytes_of(model)


def test_the_default_model_in_nf4():
    model, _ = load_model(quant_type="nf4", device="cpu")
    empty = empty_model(model)
    assert empty.num_parameters() == 134_515_008
    assert base_bytes(134_515_008, linear_shapes(empty), "nf4", True, torch.float32) == bytes_of(model)
    assert count_lora_parameters(model, 8, ["q_proj", "v_proj"]) == 460_800
