# %% bitsandbytes itself
def layer_bytes(in_features, out_features, double_quant):
    from bitsandbytes.functional import quantize_4bit

    w = torch.randn(out_features, in_features)
    codes, state = quantize_4bit(w, blocksize=64, compress_statistics=double_quant, quant_type="fp4")
    return codes.nbytes + state.absmax.nbytes + (state.state2.absmax.nbytes if double_quant else 0)


# %% rounded up by minus
def layer_bytes(in_features, out_features, double_quant):
    n = in_features * out_features
    scales = -(-n // 64)
    return (n + 1) // 2 + (scales + -(-scales // 256) * 4 if double_quant else scales * 4)
