# %% hard-coded -> returns the same for every input
def weights_mib(n_weights, bits):
    return 513.13


# %% bytes -> This is bytes, not MiB
def weights_mib(n_weights, bits):
    return n_weights * bits / 8


# %% KiB -> This is KiB
def weights_mib(n_weights, bits):
    return n_weights * bits / 8 / 1024


# %% GiB -> This is GiB
def weights_mib(n_weights, bits):
    return n_weights * bits / 8 / 2**30


# %% MB -> of a million bytes
def weights_mib(n_weights, bits):
    return n_weights * bits / 8 / 1e6


# %% GB -> of a thousand million bytes
def weights_mib(n_weights, bits):
    return n_weights * bits / 8 / 1e9


# %% bits for bytes -> takes bits for bytes
def weights_mib(n_weights, bits):
    return n_weights * bits / 2**20


# %% times 8 -> This multiplies by 8
def weights_mib(n_weights, bits):
    return n_weights * bits * 8 / 2**20


# %% 2 * 20 -> 2**20 is 1,048,576
def weights_mib(n_weights, bits):
    return n_weights * bits / 8 / (2 * 20)


# %% 2 ^ 20 -> 2**20 is 1,048,576
def weights_mib(n_weights, bits):
    return n_weights * bits / 8 / (2 ^ 20)


# %% whole bytes a weight -> fills half a byte, not none
def weights_mib(n_weights, bits):
    return n_weights * (bits // 8) / 2**20


# %% whole-number division -> cuts off the fraction
def weights_mib(n_weights, bits):
    return n_weights * bits // 8 // 2**20


# %% int -> cuts off the fraction
def weights_mib(n_weights, bits):
    return int(n_weights * bits / 8 / 2**20)


# %% rounded -> rounded to whole MiB
def weights_mib(n_weights, bits):
    return round(n_weights * bits / 8 / 2**20)


# %% rounded to one digit -> rounded to one digit
def weights_mib(n_weights, bits):
    return round(n_weights * bits / 8 / 2**20, 1)


# %% always float32 -> takes every weight to be a float32
def weights_mib(n_weights, bits):
    return n_weights * 4 / 2**20


# %% always 16 bits -> takes every weight to fill 2 bytes
def weights_mib(n_weights, bits):
    return n_weights * 2 / 2**20


# %% a byte a weight -> takes every weight to fill one byte
def weights_mib(n_weights, bits):
    return n_weights / 2**20


# %% upside down -> divides by the bits of a weight
def weights_mib(n_weights, bits):
    return n_weights / (bits / 8) / 2**20


# %% as text -> Not right yet
def weights_mib(n_weights, bits):
    return f"{n_weights * bits / 8 / 2**20:.1f} MiB"
