# %% a loop over blocks
def absmax_quantize(values, block_size):
    codes, scales = [], []
    for start in range(0, len(values), block_size):
        block = values[start : start + block_size]
        absmax = block.abs().max()
        codes.append((block / absmax * 127).round() if absmax > 0 else torch.zeros(block_size))
        scales.append(absmax)
    return torch.stack(codes), torch.stack(scales)


# %% int8
def absmax_quantize(values, block_size):
    blocks = values.reshape(-1, block_size)
    absmax, _ = blocks.abs().max(dim=-1)
    return (blocks * (127 / absmax.clamp(min=1e-30)).unsqueeze(1)).round().to(torch.int8), absmax


# %% NaN put right
def absmax_quantize(values, block_size):
    blocks = torch.stack(values.split(block_size))
    absmax = blocks.abs().amax(-1, keepdim=True)
    return torch.nan_to_num(127 * blocks / absmax).round().int(), absmax.squeeze(1)


# %% signs apart, with a minus zero
def absmax_quantize(values, block_size):
    blocks = values.unfold(0, block_size, block_size)
    absmax = torch.maximum(blocks.amax(1), -blocks.amin(1))
    magnitudes = (127 * blocks.abs() / torch.where(absmax == 0, 1.0, absmax)[:, None] + 0.5).floor()
    return torch.where(blocks > 0, magnitudes, -magnitudes), absmax


# %% by the step, in float64
def absmax_quantize(values, block_size):
    blocks = values.double().view(-1, block_size)
    absmax = blocks.abs().amax(1)
    step = absmax / 127 + (absmax == 0)
    return torch.round(blocks / step[:, None]), absmax


# %% numpy
def absmax_quantize(values, block_size):
    import numpy as np

    blocks = values.numpy().reshape(-1, block_size)
    absmax = np.abs(blocks).max(axis=1)
    codes = np.rint(127 * blocks / np.maximum(absmax, 1e-20)[:, None]).astype(np.int8)
    return torch.from_numpy(codes), torch.from_numpy(absmax)


# %% a list, not a tuple
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return [(127 * blocks / absmax.clamp(min=1e-12)[:, None]).round().clamp(-127, 127), absmax]
