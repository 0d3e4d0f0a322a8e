# %% as transformers does
def rotate(x, angles):
    half = x.shape[-1] // 2
    both = torch.cat((angles, angles), dim=-1)
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * both.cos() + turned * both.sin()


# %% complex numbers
def rotate(x, angles):
    half = x.shape[-1] // 2
    z = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((z.real, z.imag), dim=-1)


# %% loops
def rotate(x, angles):
    y, half = x.clone(), x.shape[-1] // 2
    for t in range(x.shape[2]):
        for j in range(half):
            a, b, by = x[:, :, t, j], x[:, :, t, j + half], angles[t, j]
            y[:, :, t, j] = a * by.cos() - b * by.sin()
            y[:, :, t, j + half] = b * by.cos() + a * by.sin()
    return y
