# %% hard-coded -> returns the same for every input
def rotate(x, angles):
    return torch.ones(2, 2, 2, 2)


# %% neighbours -> pairs each number with its neighbour
def rotate(x, angles):
    a, b = x[..., 0::2], x[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)


# %% clockwise -> This turns clockwise
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


# %% first half only -> turns one coordinate and leaves the other
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * angles.cos() - b * angles.sin(), b), dim=-1)


# %% made from the new one -> after that had changed
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    a = a * cos - b * sin
    b = b * cos + a * sin
    return torch.cat((a, b), dim=-1)


# %% sin and cos exchanged -> sin and cos have changed places
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    sin, cos = angles.cos(), angles.sin()
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


# %% same sign -> the same sign before sin
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((a * cos + b * sin, b * cos + a * sin), dim=-1)


# %% exchanged in one -> In one coordinate sin and cos
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((a * cos - b * sin, b * sin + a * cos), dim=-1)


# %% by head -> Each head has an angle of its own
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    angles = angles[: x.shape[1], None]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


# %% one position -> One position's angles
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles[0].cos(), angles[0].sin()
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


# %% one pair -> One angle of a position
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles[:, :1].cos(), angles[:, :1].sin()
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


# %% angles for neighbours -> laid out as for neighbours
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    angles = angles.repeat_interleave(2, dim=-1)
    return x * angles.cos() + torch.cat((-b, a), dim=-1) * angles.sin()


# %% nothing turned -> Nothing is turned
def rotate(x, angles):
    return x


# %% halves exchanged -> in the wrong order
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((b * cos + a * sin, a * cos - b * sin), dim=-1)


# %% put together in turn -> are put together in turn
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)


# %% another axis -> along another axis than they were cut
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((a * cos - b * sin, b * cos + a * sin))


# %% stacked -> lie on an axis of their own
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1)


# %% degrees -> taken for degrees
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin()
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


# %% one half -> This is one half of the numbers
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    return a * angles.cos() - b * angles.sin()


# %% twice -> Not right yet
def rotate(x, angles):
    a, b = x.chunk(2, dim=-1)
    cos, sin = (2 * angles).cos(), (2 * angles).sin()
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
