# %% a linear layer
def initial_a_and_b(r, in_features, out_features):
    return torch.nn.Linear(in_features, r).weight, torch.zeros(out_features, r)


# %% as peft does
def initial_a_and_b(r, in_features, out_features):
    A = torch.empty(r, in_features)
    torch.nn.init.kaiming_uniform_(A, a=math.sqrt(5))
    return [A, torch.zeros(out_features, r)]


# %% torch.rand
def initial_a_and_b(r, in_features, out_features):
    return (2 * torch.rand(r, in_features) - 1) / math.sqrt(in_features), torch.zeros(out_features, r)
