# %% bits a weight
def model_gib(linear, other, adapter, method, double_quant):
    bits = 16 if method == "lora" else 4 + 8 / 64 + 32 / (64 * 256) if double_quant else 4.5
    others = 16 if method == "lora" else 32
    return (bits * linear + others * other + 32 * adapter) / 8 / 1024**3


# %% the course's own count
def model_gib(linear, other, adapter, method, double_quant):
    from lorakit.quantization.size import coded_bytes

    if method == "qlora":
        return (coded_bytes(linear, 4, 64, double_quant) + 4 * (other + adapter)) / (1 << 30)
    return (2 * (linear + other) + 4 * adapter) / (1 << 30)
