# %% hard-coded -> returns the same for every input
def initial_a_and_b(r, in_features, out_features):
    return torch.rand(2, 300, generator=torch.Generator().manual_seed(0)) / 20, torch.zeros(300, 2)


# %% both zero -> Both are zero
def initial_a_and_b(r, in_features, out_features):
    return torch.zeros(r, in_features), torch.zeros(out_features, r)


# %% B random -> B is not zero
def initial_a_and_b(r, in_features, out_features):
    bound = in_features**-0.5
    return torch.empty(r, in_features).uniform_(-bound, bound), torch.randn(out_features, r)


# %% A zero -> A is zero and B is not
def initial_a_and_b(r, in_features, out_features):
    bound = in_features**-0.5
    return torch.zeros(r, in_features), torch.empty(out_features, r).uniform_(-bound, bound)


# %% a seed -> A is the same at each call
def initial_a_and_b(r, in_features, out_features):
    bound = in_features**-0.5
    torch.manual_seed(0)
    return torch.empty(r, in_features).uniform_(-bound, bound), torch.zeros(out_features, r)


# %% standard normal -> A goes beyond its bound
def initial_a_and_b(r, in_features, out_features):
    return torch.randn(r, in_features), torch.zeros(out_features, r)


# %% no root -> A does not fill its range
def initial_a_and_b(r, in_features, out_features):
    bound = 1 / in_features
    return torch.empty(r, in_features).uniform_(-bound, bound), torch.zeros(out_features, r)


# %% above zero alone -> A does not fill its range
def initial_a_and_b(r, in_features, out_features):
    return torch.rand(r, in_features) * in_features**-0.5, torch.zeros(out_features, r)


# %% B first -> B comes first here
def initial_a_and_b(r, in_features, out_features):
    bound = in_features**-0.5
    return torch.zeros(out_features, r), torch.empty(r, in_features).uniform_(-bound, bound)


# %% transposed -> The shapes are transposed
def initial_a_and_b(r, in_features, out_features):
    bound = in_features**-0.5
    return torch.empty(in_features, r).uniform_(-bound, bound), torch.zeros(r, out_features)


# %% A alone -> Two tensors are wanted
def initial_a_and_b(r, in_features, out_features):
    bound = in_features**-0.5
    return torch.empty(r, in_features).uniform_(-bound, bound)


# %% a list of numbers -> A is to be a matrix
def initial_a_and_b(r, in_features, out_features):
    return [0.0] * r, torch.zeros(out_features, r)


# %% too many rows -> Not right yet
def initial_a_and_b(r, in_features, out_features):
    bound = in_features**-0.5
    return torch.empty(r + 1, in_features).uniform_(-bound, bound), torch.zeros(out_features, r)
