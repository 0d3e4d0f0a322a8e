# %% hard-coded -> returns the same for every input
def model_gib(linear, other, adapter, method, double_quant):
    return 4.09


# %% GB -> These are GB
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return (base + 4 * adapter) / 10**9


# %% bytes -> These are bytes
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return base + 4 * adapter


# %% MiB -> These are MiB
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return (base + 4 * adapter) / 2**20


# %% no constants -> quantisation constants are left out
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        base = linear / 2 + 4 * other
    return (base + 4 * adapter) / 2**30


# %% a byte a code -> gives each code a byte of its own
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear + linear / 64 * scale + 4 * other
    return (base + 4 * adapter) / 2**30


# %% not lifted -> not quantised is counted in 16 bits with QLoRA
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 2 * other
    return (base + 4 * adapter) / 2**30


# %% all in codes -> quantises all of the model
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = (linear + other) / 2 + linear / 64 * scale
    return (base + 4 * adapter) / 2**30


# %% all in codes and scales -> quantises all of the model
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = (linear + other) * (1 / 2 + scale / 64)
    return (base + 4 * adapter) / 2**30


# %% always float32 scales -> keeps the scales in float32 with double quantisation
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return (base + 4 * adapter) / 2**30


# %% always double -> shrinks the scales without double quantisation
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256
        base = linear / 2 + linear / 64 * scale + 4 * other
    return (base + 4 * adapter) / 2**30


# %% one level -> leaves out the float32 that 256 scales share
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return (base + 4 * adapter) / 2**30


# %% a byte at both levels -> gives the scale that 256 scales share one byte
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 1 / 256 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return (base + 4 * adapter) / 2**30


# %% base alone -> The adapters are left out
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return base / 2**30


# %% 16-bit adapters -> The adapters are counted in 16 bits
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return (base + 2 * adapter) / 2**30


# %% 4-bit adapters -> The adapters are quantised here
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        return (2 * (linear + other) + 4 * adapter) / 2**30
    scale = 1 + 4 / 256 if double_quant else 4
    return (linear / 2 + linear / 64 * scale + 4 * other + adapter / 2) / 2**30


# %% adapters with company -> counts gradients and states with the adapters
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return (base + 16 * adapter) / 2**30


# %% float32 base -> With LoRA the base is counted in float32
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 4 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return (base + 4 * adapter) / 2**30


# %% always in codes -> quantises the base with LoRA too
def model_gib(linear, other, adapter, method, double_quant):
    scale = 1 + 4 / 256 if double_quant else 4
    return (linear / 2 + linear / 64 * scale + 4 * other + 4 * adapter) / 2**30


# %% always 16 bits -> keeps the base in 16 bits with QLoRA too
def model_gib(linear, other, adapter, method, double_quant):
    return (2 * (linear + other) + 4 * adapter) / 2**30


# %% two codes in a byte and a half -> Not right yet
def model_gib(linear, other, adapter, method, double_quant):
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear * 1.5 + linear / 64 * scale + 4 * other
    return (base + 4 * adapter) / 2**30
