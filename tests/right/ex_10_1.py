# %% one fraction
def bits_per_weight(block_size, double_quant):
    scales = 8 + 32 / 256 if double_quant else 32
    return (4 * block_size + scales) / block_size
