# %% hard-coded -> returns the same for every input
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    return 171_156


# %% codes alone -> the codes alone
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    return ceil(in_features * out_features / 2)


# %% a byte a code -> gives each code a byte of its own
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return n + (scales + 4 * ceil(scales / 256) if double_quant else 4 * scales)


# %% always float32 scales -> keeps the scales in float32 with double quantisation too
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    return ceil(n / 2) + 4 * ceil(n / 64)


# %% always double -> shrinks the scales without double quantisation
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    return ceil(n / 2) + ceil(n / 64) + 4 * ceil(ceil(n / 64) / 256)


# %% one level -> leaves out the scales of the scales
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    return ceil(n / 2) + ceil(n / 64) * (1 if double_quant else 4)


# %% a level more, none smaller -> leaves the scales in float32 beside their own scales
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return ceil(n / 2) + 4 * scales + (4 * ceil(scales / 256) if double_quant else 0)


# %% the average -> spreads the scales evenly
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    bits = 4 + 8 / 64 + 32 / (64 * 256) if double_quant else 4 + 32 / 64
    return in_features * out_features * bits / 8


# %% full blocks alone -> leaves out all blocks that are not full
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = n // 64
    return n // 2 + (scales + 4 * (scales // 256) if double_quant else 4 * scales)


# %% full blocks of weights alone -> last block of weights is left out
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = n // 64
    return ceil(n / 2) + (scales + 4 * ceil(scales / 256) if double_quant else 4 * scales)


# %% full groups of scales alone -> last group of scales is left out
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return ceil(n / 2) + (scales + 4 * (scales // 256) if double_quant else 4 * scales)


# %% half a byte lost -> leaves half a byte over
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return n // 2 + (scales + 4 * ceil(scales / 256) if double_quant else 4 * scales)


# %% blocks a row -> at every row of W
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    scales = out_features * ceil(in_features / 64)
    codes = ceil(in_features * out_features / 2)
    return codes + (scales + 4 * ceil(scales / 256) if double_quant else 4 * scales)


# %% blocks a column -> at every column of W
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    scales = in_features * ceil(out_features / 64)
    codes = ceil(in_features * out_features / 2)
    return codes + (scales + 4 * ceil(scales / 256) if double_quant else 4 * scales)


# %% 256 weights share -> counted by weights
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    return ceil(n / 2) + (ceil(n / 64) + 4 * ceil(n / 256) if double_quant else 4 * ceil(n / 64))


# %% a byte a float32 -> a float32 to fill one byte
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return ceil(n / 2) + scales + (ceil(scales / 256) if double_quant else 0)


# %% 2 bytes a float32 -> a float32 to fill 2 bytes
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return ceil(n / 2) + (scales + 2 * ceil(scales / 256) if double_quant else 2 * scales)


# %% bits -> These are bits
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return 8 * (ceil(n / 2) + (scales + 4 * ceil(scales / 256) if double_quant else 4 * scales))


# %% bytes and bits -> adds the scales in bits
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return ceil(n / 2) + (8 * scales + 32 * ceil(scales / 256) if double_quant else 32 * scales)


# %% look-up tables too -> Not right yet
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return ceil(n / 2) + (scales + 4 * ceil(scales / 256) + 1092 if double_quant else 4 * scales + 64)


# %% half a byte -> has half a byte in it
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return n / 2 + (scales + 4 * ceil(scales / 256) if double_quant else 4 * scales)


# %% the last block is filled up -> fills the last block up with codes
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    scales = ceil(in_features * out_features / 64)
    return scales * 32 + (scales + 4 * ceil(scales / 256) if double_quant else 4 * scales)


# %% always a block more -> adds a block even where the last one is full
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = n // 64 + 1
    return ceil(n / 2) + (scales + 4 * ceil(scales / 256) if double_quant else 4 * scales)


# %% always a group more -> adds a group of scales even where the last one is full
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = ceil(n / 64)
    return ceil(n / 2) + (scales + 4 * (scales // 256 + 1) if double_quant else 4 * scales)


# %% always both more -> adds a block even where the last one is full
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = n // 64 + 1
    return ceil(n / 2) + (scales + 4 * (scales // 256 + 1) if double_quant else 4 * scales)


# %% the average, rounded up -> rounds an average up
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    bits = 4 + 8 / 64 + 32 / (64 * 256) if double_quant else 4.5
    return ceil(in_features * out_features * bits / 8)


# %% the average, cut down -> cuts an average down
def layer_bytes(in_features, out_features, double_quant):
    bits = 4 + 8 / 64 + 32 / (64 * 256) if double_quant else 4.5
    return int(in_features * out_features * bits / 8)
