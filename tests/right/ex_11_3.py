# %% on a tape
def mlp_kept(D, F, width, r, adapted):
    from lorakit.memory.tape import Tape, Tensor

    tape, x = Tape(), Tensor(width * D, grad=True)

    def linear(name, x, size):
        y = tape.op(width * size, x)
        if name not in adapted:
            return y
        wide = x if width == 4 else tape.op(2 * x.bytes, x)
        low = tape.op(4 * r, wide, keeps=[wide], weight_grad=1)
        return tape.op(y.bytes, y, tape.op(4 * size, low, keeps=[low], weight_grad=1))

    gate, up = linear("gate_proj", x, F), linear("up_proj", x, F)
    active = tape.op(gate.bytes, gate, keeps=[gate])
    linear("down_proj", tape.op(up.bytes, active, up, keeps=[active, up]), D)
    return tape.kept_bytes


# %% case by case
def mlp_kept(D, F, width, r, adapted):
    total = 0
    for _ in ("gate", "silu(gate)", "up"):
        total += F * width
    beside_x = len({"gate_proj", "up_proj"} & set(adapted))
    if width == 4:
        beside_x = min(beside_x, 1)
    total += beside_x * 4 * D
    if "down_proj" in adapted:
        total += 4 * F
    return float(total + len(adapted) * 4 * r)
