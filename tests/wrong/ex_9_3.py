# %% hard-coded -> returns the same for every input
def pack(codes):
    return torch.tensor([1, 2, 3], dtype=torch.uint8)


# %% nibbles swapped -> The halves are swapped
def pack(codes):
    return codes[1::2] << 4 | codes[0::2]


# %% front and back -> The first half of all codes
def pack(codes):
    half = len(codes) // 2
    return codes[:half] << 4 | codes[half:]


# %% plus without brackets -> + binds tighter than <<
def pack(codes):
    return codes[0::2] << 4 + codes[1::2]


# %% plus without brackets, in whole numbers -> + binds tighter than <<
def pack(codes):
    return codes[0::2].int() << 4 + codes[1::2].int()


# %% added -> not moved apart
def pack(codes):
    return codes[0::2] + codes[1::2]


# %% or alone -> not moved apart
def pack(codes):
    return codes[0::2] | codes[1::2]


# %% fifteen -> 10 or 15 apart
def pack(codes):
    return codes[0::2] * 15 + codes[1::2]


# %% ten -> 10 or 15 apart
def pack(codes):
    return codes[0::2] * 10 + codes[1::2]


# %% three -> The shift is not by 4
def pack(codes):
    return codes[0::2] << 3 | codes[1::2]


# %% both shifted -> Both codes are shifted
def pack(codes):
    codes = codes << 4
    return codes[0::2] | codes[1::2]


# %% and -> combined with &
def pack(codes):
    return codes[0::2] << 4 & codes[1::2]


# %% the first alone -> One code of each pair is missing
def pack(codes):
    return codes[0::2] << 4


# %% as they are -> a byte of its own
def pack(codes):
    return codes.to(torch.uint8)


# %% backwards -> in reverse order
def pack(codes):
    codes = codes.flip(0)
    return codes[1::2] << 4 | codes[0::2]


# %% int64 -> and not one: torch.uint8 is wanted
def pack(codes):
    codes = codes.long()
    return codes[0::2] * 16 + codes[1::2]


# %% a list -> one tensor is wanted
def pack(codes):
    return [a << 4 | b for a, b in zip(codes[0::2], codes[1::2])]


# %% exclusive or, inverted -> Not right yet
def pack(codes):
    return ~(codes[0::2] << 4 | codes[1::2])
