# %% middles between the levels
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    middles = (levels[:-1] + levels[1:]) / 2
    new_codes = torch.bucketize(blocks / new_absmax[:, None], middles).view(codes.shape)
    return new_codes, new_absmax


# %% scales repeated
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = levels[codes] * absmax.repeat_interleave(64).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% times a reciprocal, in uint8
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    scaled = blocks * (1 / new_absmax)[:, None]
    new_codes = (scaled.unsqueeze(-1) - levels).pow(2).min(dim=-1).indices.to(torch.uint8).reshape(codes.shape)
    return [new_codes, new_absmax]


# %% block by block
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = levels[codes.flatten()] * absmax.repeat_interleave(64)
    merged = W + lora_alpha / A.shape[0] * (B @ A).flatten()
    new_codes, new_absmax = [], []
    for block in merged.split(64):
        scale = block.abs().max()
        new_absmax.append(scale)
        new_codes += [(levels - value / scale).abs().argmin() for value in block]
    return torch.stack(new_codes).view(codes.shape), torch.stack(new_absmax)


# %% in float64
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    absmax, levels, A, B = (each.double() for each in (absmax, levels, A, B))
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% levels times the scale
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    grid = levels * new_absmax[:, None]
    new_codes = (blocks[:, :, None] - grid[:, None]).abs().argmin(-1).view(len(B), -1)
    return new_codes, new_absmax
