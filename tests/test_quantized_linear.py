"""A linear layer of codes: equal to bitsandbytes', under LoRA equal to peft's, and never with its weights in full."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, get_peft_model
from torch import nn

from lorakit import LorakitError
from lorakit.lora import LINEAR_LAYERS, LoRALinear, apply_lora, lora_layers, lora_state_dict
from lorakit.models import load_model
from lorakit.quantization import QuantizedLinear, QuantizedTensor, layer_bytes, quantize_linears

ALL = list(LINEAR_LAYERS)


def linear(in_features, out_features, bias=True, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Linear(in_features, out_features, bias).to(dtype)


def bitsandbytes_layer(layer, quant_type, double_quant, compute_dtype):
    """A Linear4bit with the weights of a plain layer."""
    theirs = Linear4bit(
        layer.in_features, layer.out_features, layer.bias is not None, compute_dtype, double_quant, quant_type
    )
    theirs.load_state_dict(layer.state_dict())
    theirs.support_avx512bf16_for_cpu = False
    return theirs.to("cpu")  # quantised here


def step(layer, x):
    """Output, and gradient of the input, of a step."""
    x = x.clone().requires_grad_()
    y = layer(x)
    y.square().sum().backward()
    return y.detach(), x.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(576, 576), (576, 192), (576, 1536), (1536, 576)], ids=str)
@pytest.mark.parametrize(("quant_type", "double_quant"), [("nf4", True), ("nf4", False), ("fp4", True)])
def test_output_and_gradients_are_those_of_linear4bit(shape, quant_type, double_quant, dtype):
    layer = linear(*shape, dtype=dtype)
    theirs = bitsandbytes_layer(layer, quant_type, double_quant, dtype)
    ours = QuantizedLinear(layer, quant_type, 64, double_quant)
    x = torch.randn(10, shape[0]).to(dtype)
    (y, gradient), (their_y, their_gradient) = step(ours, x), step(theirs, x)
    torch.testing.assert_close(y, their_y)
    torch.testing.assert_close(gradient, their_gradient)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)
    assert (y - layer(x)).abs().max() > 0.01  # it is not the plain layer


@pytest.mark.parametrize("quant_type", ["nf4", "int8"])
def test_it_is_the_plain_layer_with_the_dequantised_weight(quant_type):
    plain = linear(64, 32)
    layer = QuantizedLinear(plain, quant_type, 32)
    rounded = nn.Linear(64, 32)
    rounded.load_state_dict({"weight": layer.quantized.dequantize(), "bias": plain.bias})
    for x in (torch.randn(64), torch.randn(3, 64), torch.randn(2, 3, 64)):
        for found, wanted in zip(step(layer, x), step(rounded, x), strict=True):
            torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(layer.bias.grad, rounded.bias.grad)


def test_under_autocast_it_multiplies_in_bf16():
    plain = linear(64, 32)
    ours, theirs = QuantizedLinear(plain), bitsandbytes_layer(plain, "nf4", False, torch.bfloat16)
    x = torch.randn(4, 64)
    with torch.autocast("cpu", torch.bfloat16):
        y, gradient = step(ours, x)
    assert y.dtype == torch.bfloat16 and gradient.dtype == torch.float32
    torch.testing.assert_close(y.float(), theirs(x))


def test_lora_on_it_is_peft_on_linear4bit(tiny_folder):
    torch.manual_seed(1)
    ours = apply_lora(quantize_linears(load_model(tiny_folder, device="cpu")[0], double_quant=True), 4, 8, ALL)
    base = load_model(tiny_folder, quant_type="nf4", device="cpu")[0]
    for layer in base.modules():
        if isinstance(layer, Linear4bit):
            layer.compute_dtype = torch.float32  # where the CPU has bf16, load_model takes that
    theirs = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=ALL))
    there = theirs.state_dict()
    with torch.no_grad():
        for name, weight in lora_state_dict(ours).items():
            nn.init.normal_(weight, std=0.1)
            there[name.replace(".weight", ".default.weight")].copy_(weight)
    ids = torch.randint(0, 97, (2, 9))
    outputs = [model.train()(ids, labels=ids) for model in (ours, theirs)]
    for output in outputs:
        output.loss.backward()
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits, rtol=0, atol=1e-5)
    gradients = {name: weight.grad for name, weight in theirs.named_parameters() if weight.requires_grad}
    found = {
        f"base_model.model.{name}.{side}.default.weight": getattr(layer, side).grad
        for name, layer in lora_layers(ours)
        for side in ("lora_A", "lora_B")
    }
    assert found.keys() == gradients.keys()
    for name, gradient in found.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(gradient, gradients[name], rtol=0, atol=1e-5)


# --- memory ---


@pytest.fixture
def dequantized(monkeypatch):
    """Weak references to every weight that is dequantised: dead once nothing holds on to it."""
    made = []
    plain = QuantizedTensor.dequantize

    def recorded(self, dtype=None):
        weight = plain(self, dtype)
        made.append(weakref.ref(weight))
        return weight

    monkeypatch.setattr(QuantizedTensor, "dequantize", recorded)
    return made


def saved_bytes(run):
    """What `run` returns, and the bytes that autograd keeps for its backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda t: t):
        return run(), sum(kept)


@pytest.mark.parametrize("double_quant", [False, True])
def test_bytes_before_during_and_after_a_step(double_quant, dequantized):
    layer = QuantizedLinear(linear(576, 192, bias=False), "nf4", 64, double_quant)
    size = layer_bytes(576, 192, "nf4", double_quant, torch.float32) + 4 * double_quant  # and the mean of the scales
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}

    def stored():
        return sum(tensor.nbytes for tensor in layer.state_dict().values())

    assert stored() == layer.quantized.nbytes == size < 576 * 192 * 4 / 7 and not list(layer.parameters())
    x = torch.randn(3, 576, requires_grad=True)
    y, kept = saved_bytes(lambda: layer(x))
    assert kept == 0 and [weight() for weight in dequantized] == [None]
    _, naive = saved_bytes(lambda: F.linear(x, layer.quantized.dequantize()))
    assert naive == 576 * 192 * 4  # what autograd keeps where the weight is dequantised in its sight
    y.sum().backward()
    assert x.grad is not None and [weight() for weight in dequantized] == [None] * 3
    assert stored() == size
    assert all(torch.equal(buffer, before[name]) for name, buffer in layer.named_buffers())


def test_lora_on_it_trains_and_leaves_the_codes_alone():
    torch.manual_seed(0)
    layer = LoRALinear(QuantizedLinear(linear(64, 32), "nf4", 64, double_quant=True), r=2, lora_alpha=2)
    before = {name: tensor.clone() for name, tensor in layer.base_layer.state_dict().items()}
    x, target = torch.randn(128, 64), torch.randn(128, 32)
    optimizer = torch.optim.Adam([layer.lora_A, layer.lora_B], lr=0.02)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(F.mse_loss(layer(x), target))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.95 * losses[0]
    assert {name for name, weight in layer.named_parameters() if weight.requires_grad} == {"lora_A", "lora_B"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.base_layer.state_dict().items())


@pytest.mark.parametrize("double_quant", [False, True])
def test_a_cast_model_keeps_the_bits_of_its_scales(double_quant):
    layer = QuantizedLinear(linear(64, 32), "nf4", 64, double_quant)
    weight = layer.quantized.dequantize()
    layer.to(torch.bfloat16)
    assert layer.bias.dtype == torch.bfloat16 and layer.absmax.dtype == torch.float32
    assert torch.equal(layer.quantized.dequantize(), weight)
    assert layer(torch.randn(2, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert layer.to("meta").absmax.device.type == "meta"


def test_what_was_saved_loads_into_another():
    saved = QuantizedLinear(linear(64, 32), "nf4", 64, double_quant=True)
    torch.manual_seed(1)
    other = QuantizedLinear(nn.Linear(64, 32), "nf4", 64, double_quant=True)
    x = torch.randn(2, 64)
    assert not torch.equal(other(x), saved(x))
    other.load_state_dict(saved.state_dict())
    assert torch.equal(other(x), saved(x))


@pytest.mark.parametrize(
    ("in_features", "block_size", "message"),
    [
        (576, 128, "576 inputs do not divide into blocks of 128, .* take block_size 32 or 64"),
        (100, 64, "100 inputs do not divide into blocks of 64, .* leave this layer as it is"),
        (576, 100, "block_size 100 is not one of"),
    ],
)
def test_layers_that_bitsandbytes_gets_wrong_are_refused(in_features, block_size, message):
    with pytest.raises(LorakitError, match=message):
        QuantizedLinear(nn.Linear(in_features, 8), "nf4", block_size)


def test_merging_into_codes_is_refused():
    layer = LoRALinear(QuantizedLinear(linear(64, 32)), r=2, lora_alpha=2)
    with pytest.raises(LorakitError, match="QuantizedLinear stores codes"):
        layer.merge()
