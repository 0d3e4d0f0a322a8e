# %% hard-coded -> returns the same for every input
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    return torch.zeros(64, 64), torch.ones(64)


# %% added to codes -> The change is added to the codes
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = codes
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% codes plus change, rounded -> The change is added to the codes
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    change = lora_alpha / len(A) * (B @ A)
    return (codes + change).round().clamp(0, 15).long(), absmax


# %% no scales -> The change is added to the levels
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = levels[codes]
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% old scales -> The old scales are kept
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = absmax
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% codes by old scales -> The codes belong to the old scales
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% old scales returned -> The codes belong to the new scales
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, absmax


# %% a scale for the layer, once a block -> One scale is used for the whole layer
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().max().repeat(len(absmax))
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% a scale for the layer -> One scale is used for the whole layer
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().max()
    distances = (blocks / new_absmax)[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% a scale for the layer, in one dimension -> One scale is used for the whole layer
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().max()[None]
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% without abs -> The largest number of a block is taken
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% change rounded alone -> The change is rounded to 4 bits on its own
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    def rounded(matrix):
        blocks = matrix.view(-1, 64)
        scales = blocks.abs().amax(dim=1)
        return ((blocks / scales[:, None])[..., None] - levels).abs().argmin(dim=-1), scales

    change, scales = rounded(lora_alpha / len(A) * (B @ A))
    W = levels[codes].view(-1, 64) * absmax[:, None] + levels[change] * scales[:, None]
    new_codes, new_absmax = rounded(W)
    return new_codes.view(codes.shape), new_absmax


# %% the change alone -> This is the change alone
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    blocks = (lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% nothing merged -> These are the old codes and scales
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    return codes, absmax


# %% the base requantised -> These are the old codes and scales
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = W.view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% rounded down -> This is the lower of the two levels
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    new_codes = torch.searchsorted(levels, blocks / new_absmax[:, None], right=True).view(codes.shape) - 1
    return new_codes, new_absmax


# %% rounded up -> This is the upper of the two levels
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    new_codes = torch.searchsorted(levels, blocks / new_absmax[:, None], right=True).view(codes.shape).clamp(max=15)
    return new_codes, new_absmax


# %% alpha -> The change is scaled by alpha: it is alpha / r
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% unscaled -> The change is not scaled
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + B @ A).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% without alpha -> alpha is left out
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + B @ A / len(A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% taken off -> The change is taken off
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W - lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% transposed -> The change is transposed
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (A.T @ B.T)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% a before b -> raised RuntimeError
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (A @ B)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% the matrix -> This is the merged matrix itself
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    new_codes = blocks.view(codes.shape)
    return new_codes, new_absmax


# %% the blocks -> This is the merged matrix itself
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    new_codes = blocks
    return new_codes, new_absmax


# %% absmax first -> The two are in the wrong order
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_absmax, new_codes


# %% flat codes -> The codes have another shape
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).flatten()
    return new_codes, new_absmax


# %% codes by block -> The codes have another shape
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1)
    return new_codes, new_absmax


# %% codes alone -> Two things are to be returned
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes


# %% the farthest level -> Not right yet
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmax(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% places for insertion -> This is the upper of the two levels
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    return torch.bucketize(blocks / new_absmax[:, None], levels).view(codes.shape), new_absmax


# %% levels -> These are the levels themselves
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return levels[new_codes], new_absmax


# %% not divided -> not divided by the scale of its block
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    new_codes = (blocks[..., None] - levels).abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% by in_features -> The change is divided by in_features
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / A.shape[1] * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax


# %% packed -> Two codes share a byte
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    flat = new_codes.flatten()
    return flat[0::2] << 4 | flat[1::2], new_absmax


# %% keepdim -> an axis of length 1 left over
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    new_codes = distances.abs().argmin(dim=-1).view(codes.shape)
    return new_codes, new_absmax[:, None]
