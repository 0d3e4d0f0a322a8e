# %% all frozen first
def train_only_adapters(model):
    model.requires_grad_(False)
    for name, weight in model.named_parameters():
        if name.endswith(("lora_A", "lora_B")):
            weight.requires_grad = True
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% module by module
def train_only_adapters(model):
    n_trained = 0
    model.requires_grad_(False)
    for module in model.modules():
        if hasattr(module, "lora_A"):
            for weight in (module.lora_A, module.lora_B):
                n_trained += weight.requires_grad_(True).numel()
    return n_trained


# %% the course's own layers
def train_only_adapters(model):
    from lorakit.lora import lora_layers

    for weight in model.parameters():
        weight.requires_grad_(False)
    adapters = [weight for _, layer in lora_layers(model) for weight in (layer.lora_A, layer.lora_B)]
    for weight in adapters:
        weight.requires_grad_()
    return sum(map(torch.numel, adapters))


# %% with a tied head twice
def train_only_adapters(model):
    total = torch.tensor(0)
    for name, weight in model.named_parameters(remove_duplicate=False):
        weight.requires_grad = name.rpartition(".")[2].startswith("lora_")
        total += math.prod(weight.shape) * weight.requires_grad
    return total


# %% recursion
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters(recurse=False):
        weight.requires_grad_(name in ("lora_A", "lora_B"))
        n_trained += weight.numel() if weight.requires_grad else 0
    return n_trained + sum(train_only_adapters(part) for part in model.children())


# %% apply, and a float
def train_only_adapters(model):
    counts = []

    def set_own(module):
        for name, weight in module.named_parameters(recurse=False):
            weight.requires_grad = "lora" in name
            counts.append(float(weight.nelement()) if weight.requires_grad else 0.0)

    model.apply(set_own)
    return math.fsum(counts)
