# %% hard-coded -> returns the same for every input
def bits_per_weight(block_size, double_quant):
    return 4.127


# %% no scales -> returns the same for every input
def bits_per_weight(block_size, double_quant):
    return 4


# %% always float32 scales -> keeps the scales in 32 bits
def bits_per_weight(block_size, double_quant):
    return 4 + 32 / block_size


# %% always double -> shrinks the scales without double quantisation
def bits_per_weight(block_size, double_quant):
    return 4 + 8 / block_size + 32 / (256 * block_size)


# %% one level -> leaves out the float32 that 256 scales share
def bits_per_weight(block_size, double_quant):
    return 4 + (8 if double_quant else 32) / block_size


# %% the second level alone -> leaves out the 8 bits of a block's own scale
def bits_per_weight(block_size, double_quant):
    return 4 + 32 / (block_size * (256 if double_quant else 1))


# %% second level over 256 weights -> spread over 256 weights
def bits_per_weight(block_size, double_quant):
    return 4 + 8 / block_size + 32 / 256 if double_quant else 4 + 32 / block_size


# %% a level more, none smaller -> leaves the first in 32 bits
def bits_per_weight(block_size, double_quant):
    return 4 + 32 / block_size + (32 / (256 * block_size) if double_quant else 0)


# %% the first level twice -> leaves the first in 32 bits
def bits_per_weight(block_size, double_quant):
    return 4 + 32 / block_size + (8 / block_size + 32 / (256 * block_size) if double_quant else 0)


# %% 16-bit scales -> takes a block's scale for 16 bits
def bits_per_weight(block_size, double_quant):
    return 4 + 8 / block_size + 32 / (256 * block_size) if double_quant else 4 + 16 / block_size


# %% 16-bit everything -> takes every float32 for 16 bits
def bits_per_weight(block_size, double_quant):
    return 4 + 8 / block_size + 16 / (256 * block_size) if double_quant else 4 + 16 / block_size


# %% a scale a weight -> gives each weight a scale of its own
def bits_per_weight(block_size, double_quant):
    return 4 + 8 + 32 / 256 if double_quant else 4 + 32


# %% blocks of 64 -> takes every block to have 64 weights
def bits_per_weight(block_size, double_quant):
    return 4 + 8 / 64 + 32 / (64 * 256) if double_quant else 4 + 32 / 64


# %% bytes -> These are bytes
def bits_per_weight(block_size, double_quant):
    return 0.5 + 1 / block_size + 4 / (256 * block_size) if double_quant else 0.5 + 4 / block_size


# %% bits and bytes -> adds the scales in bytes
def bits_per_weight(block_size, double_quant):
    return 4 + 1 / block_size + 4 / (256 * block_size) if double_quant else 4 + 4 / block_size


# %% scales alone -> the share of the scales alone
def bits_per_weight(block_size, double_quant):
    return 8 / block_size + 32 / (256 * block_size) if double_quant else 32 / block_size


# %% the other way round -> Not right yet
def bits_per_weight(block_size, double_quant):
    return 4 + 32 / block_size if double_quant else 4 + 8 / block_size + 32 / (256 * block_size)


# %% one block -> This is one whole block
def bits_per_weight(block_size, double_quant):
    return 4 * block_size + (8 + 32 / 256 if double_quant else 32)


# %% a float32 a scale -> gives each scale a float32 of its own
def bits_per_weight(block_size, double_quant):
    return 4 + (8 + 32 if double_quant else 32) / block_size


# %% rounded -> This is rounded
def bits_per_weight(block_size, double_quant):
    return round(4 + (8 + 32 / 256 if double_quant else 32) / block_size, 3)
