# %% hard-coded -> returns the same for every input
def feed_forward(x, w_gate, w_up, w_down):
    return torch.zeros(2, 3)


# %% silu on up -> puts silu on the product with w_up
def feed_forward(x, w_gate, w_up, w_down):
    return (x @ w_gate.T * torch.nn.functional.silu(x @ w_up.T)) @ w_down.T


# %% silu on both -> puts silu on both products
def feed_forward(x, w_gate, w_up, w_down):
    return (torch.nn.functional.silu(x @ w_gate.T) * torch.nn.functional.silu(x @ w_up.T)) @ w_down.T


# %% silu of the product -> puts silu on the product of the two
def feed_forward(x, w_gate, w_up, w_down):
    return torch.nn.functional.silu((x @ w_gate.T) * (x @ w_up.T)) @ w_down.T


# %% silu at the end -> puts silu on what comes out at the end
def feed_forward(x, w_gate, w_up, w_down):
    return torch.nn.functional.silu(((x @ w_gate.T) * (x @ w_up.T)) @ w_down.T)


# %% sigmoid alone -> This is the sigmoid alone
def feed_forward(x, w_gate, w_up, w_down):
    return (torch.sigmoid(x @ w_gate.T) * (x @ w_up.T)) @ w_down.T


# %% the gate once more -> multiplies with the gate once more
def feed_forward(x, w_gate, w_up, w_down):
    gate = x @ w_gate.T
    return (gate * torch.nn.functional.silu(gate) * (x @ w_up.T)) @ w_down.T


# %% sigmoid's sign -> sign is the other way round
def feed_forward(x, w_gate, w_up, w_down):
    gate = x @ w_gate.T
    return (gate / (1 + torch.exp(gate)) * (x @ w_up.T)) @ w_down.T


# %% relu -> This is relu
def feed_forward(x, w_gate, w_up, w_down):
    return (torch.relu(x @ w_gate.T) * (x @ w_up.T)) @ w_down.T


# %% gelu -> This is gelu
def feed_forward(x, w_gate, w_up, w_down):
    return (torch.nn.functional.gelu(x @ w_gate.T) * (x @ w_up.T)) @ w_down.T


# %% gelu, near enough -> This is gelu
def feed_forward(x, w_gate, w_up, w_down):
    return (torch.nn.functional.gelu(x @ w_gate.T, approximate="tanh") * (x @ w_up.T)) @ w_down.T


# %% no silu -> There is no silu here
def feed_forward(x, w_gate, w_up, w_down):
    return ((x @ w_gate.T) * (x @ w_up.T)) @ w_down.T


# %% sum -> adds the gate to the other product
def feed_forward(x, w_gate, w_up, w_down):
    return (torch.nn.functional.silu(x @ w_gate.T) + x @ w_up.T) @ w_down.T


# %% no up -> leaves out the product with w_up
def feed_forward(x, w_gate, w_up, w_down):
    return torch.nn.functional.silu(x @ w_gate.T) @ w_down.T


# %% no gate -> leaves out the product with w_gate
def feed_forward(x, w_gate, w_up, w_down):
    return torch.nn.functional.silu(x @ w_up.T) @ w_down.T


# %% no gate and no silu -> leaves out the product with w_gate
def feed_forward(x, w_gate, w_up, w_down):
    return x @ w_up.T @ w_down.T


# %% no down -> leaves out w_down
def feed_forward(x, w_gate, w_up, w_down):
    return torch.nn.functional.silu(x @ w_gate.T) * (x @ w_up.T)


# %% x added -> This adds x
def feed_forward(x, w_gate, w_up, w_down):
    return x + (torch.nn.functional.silu(x @ w_gate.T) * (x @ w_up.T)) @ w_down.T


# %% nothing transposed -> No weight is transposed here
def feed_forward(x, w_gate, w_up, w_down):
    return (torch.nn.functional.silu(x @ w_gate) * (x @ w_up)) @ w_down


# %% gate and up not transposed -> w_gate and w_up are not transposed
def feed_forward(x, w_gate, w_up, w_down):
    return (torch.nn.functional.silu(x @ w_gate) * (x @ w_up)) @ w_down.T


# %% down not transposed -> w_down is not transposed
def feed_forward(x, w_gate, w_up, w_down):
    return (torch.nn.functional.silu(x @ w_gate.T) * (x @ w_up.T)) @ w_down


# %% tanh -> Not right yet
def feed_forward(x, w_gate, w_up, w_down):
    return (torch.tanh(x @ w_gate.T) * (x @ w_up.T)) @ w_down.T
