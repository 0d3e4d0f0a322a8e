# %% hard-coded -> returns the same for every input
def absmax_quantize(values, block_size):
    return torch.ones(4, 8), torch.ones(4)


# %% trunc -> cut off towards zero
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (127 * blocks / absmax.clamp(min=1e-30)[:, None]).trunc(), absmax


# %% straight to int8 -> cut off towards zero
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (127 * blocks / absmax.clamp(min=1e-30)[:, None]).to(torch.int8), absmax


# %% floor -> The codes are rounded down
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (127 * blocks / absmax.clamp(min=1e-30)[:, None]).floor(), absmax


# %% floor division -> The codes are rounded down
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return 127 * blocks // absmax.clamp(min=1e-30)[:, None], absmax


# %% ceil -> The codes are rounded up
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (127 * blocks / absmax.clamp(min=1e-30)[:, None]).ceil(), absmax


# %% not rounded -> The codes are not rounded
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return 127 * blocks / absmax.clamp(min=1e-30)[:, None], absmax


# %% a scale for the tensor -> All values share one scale
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = values.abs().max()
    return (127 * blocks / absmax).round(), absmax


# %% a scale for the tensor, in every block -> All values share one scale
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().max().expand(len(blocks))
    return (127 * blocks / absmax[:, None]).round(), absmax


# %% scaled by all, absmax of each -> All values share one scale
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    return (127 * blocks / blocks.abs().max()).round(), blocks.abs().amax(dim=1)


# %% the largest value -> The largest value is taken
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    largest = blocks.amax(dim=1)
    return (127 * blocks / largest.clamp(min=1e-30)[:, None]).round(), largest


# %% 128 -> This reaches 128
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (128 * blocks / absmax.clamp(min=1e-30)[:, None]).round(), absmax


# %% 255 -> This scales to 255 or 256
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (255 * blocks / absmax.clamp(min=1e-30)[:, None]).round(), absmax


# %% int4 -> This scales to 7
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (7 * blocks / absmax.clamp(min=1e-30)[:, None]).round(), absmax


# %% not multiplied -> not multiplied by 127
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (blocks / absmax.clamp(min=1e-30)[:, None]).round(), absmax


# %% the range -> This divides by the range
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    span = blocks.amax(dim=1) - blocks.amin(dim=1)
    return (255 * blocks / span.clamp(min=1e-30)[:, None]).round(), span


# %% the range for the codes alone -> This divides by the range
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    span = blocks.amax(dim=1) - blocks.amin(dim=1)
    return (127 * blocks / span.clamp(min=1e-30)[:, None]).round(), blocks.abs().amax(dim=1)


# %% a zero point -> with a zero point
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    low = blocks.amin(dim=1)
    span = blocks.amax(dim=1) - low
    return (255 * (blocks - low[:, None]) / span.clamp(min=1e-30)[:, None]).round(), span


# %% multiplied -> This multiplies by the absmax
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (127 * blocks * absmax[:, None]).round(), absmax


# %% no signs -> The signs are lost
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size).abs()
    absmax = blocks.amax(dim=1)
    return (127 * blocks / absmax.clamp(min=1e-30)[:, None]).round(), absmax


# %% uint8 -> The codes are in uint8
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    codes = (127 * blocks / absmax.clamp(min=1e-30)[:, None]).round()
    return codes.to(torch.int8).view(torch.uint8), absmax


# %% blocks in columns -> Values that lie next to each other
def absmax_quantize(values, block_size):
    blocks = values.view(block_size, -1).T
    absmax = blocks.abs().amax(dim=1)
    return (127 * blocks / absmax.clamp(min=1e-30)[:, None]).round(), absmax


# %% the step -> The step of a block is returned
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    step = blocks.abs().amax(dim=1) / 127
    return (blocks / step.clamp(min=1e-30)[:, None]).round(), step


# %% turned round -> The pair is turned round
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return absmax, (127 * blocks / absmax.clamp(min=1e-30)[:, None]).round()


# %% keepdim -> absmax is to have the shape (blocks,)
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1, keepdim=True)
    return (127 * blocks / absmax.clamp(min=1e-30)).round(), absmax


# %% codes in one line -> absmax is to have the shape (blocks,)
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (127 * blocks / absmax.clamp(min=1e-30)[:, None]).round().flatten(), absmax


# %% a block of zeros -> There is NaN in what you returned
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (127 * blocks / absmax[:, None]).round(), absmax


# %% codes alone -> 2 things are wanted, codes and absmax
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    return (127 * blocks / blocks.abs().amax(dim=1).clamp(min=1e-30)[:, None]).round()


# %% one too many -> Not right yet
def absmax_quantize(values, block_size):
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    return (127 * blocks / absmax.clamp(min=1e-30)[:, None]).round() + 1, absmax
