# %% hard-coded -> Nothing is changed
def train_only_adapters(model):
    return 1024


# %% a right count, nothing frozen -> Nothing is changed
def train_only_adapters(model):
    return sum(weight.numel() for name, weight in model.named_parameters() if "lora_" in name)


# %% a comparison -> Nothing is changed
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad == ("lora_" in name)
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained


# %% a copy -> Nothing is changed
def train_only_adapters(model):
    from copy import deepcopy

    model = deepcopy(model)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% the state dict -> Nothing is changed
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.state_dict().items():
        weight.requires_grad_("lora_" in name)
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained


# %% an attribute of the model -> Nothing is changed
def train_only_adapters(model):
    model.requires_grad = False
    return sum(weight.numel() for name, weight in model.named_parameters() if "lora_" in name)


# %% the whole model -> Everything is frozen
def train_only_adapters(model):
    model.requires_grad_(False)
    return sum(weight.numel() for name, weight in model.named_parameters() if "lora_" in name)


# %% modules by name -> Everything is frozen
def train_only_adapters(model):
    model.requires_grad_(False)
    for name, module in model.named_modules():
        if "lora_" in name:
            module.requires_grad_(True)
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% everything -> Everything is trained
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_(bool(name.find("lora_")))
        n_trained += weight.numel()
    return n_trained


# %% turned round -> This is the wrong way round
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" not in name)
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained


# %% nothing set to be trained -> that was frozen before stays frozen
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        if "lora_" in name:
            n_trained += weight.numel()
        else:
            weight.requires_grad = False
    return n_trained


# %% nothing set to be frozen -> What was trained before still is
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.requires_grad = True
            n_trained += weight.numel()
    return n_trained


# %% A alone -> One of A and B is left out
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_A" in name)
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained


# %% B alone -> One of A and B is left out
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.endswith("lora_A" and "lora_B"))
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained


# %% A set, B as it was -> One of A and B is left out
def train_only_adapters(model):
    for name, weight in model.named_parameters():
        if name.endswith("lora_A"):
            weight.requires_grad = True
        elif not name.endswith("lora_B"):
            weight.requires_grad = False
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% B set, A as it was -> One of A and B is left out
def train_only_adapters(model):
    for name, weight in model.named_parameters():
        if name.endswith("lora_B"):
            weight.requires_grad = True
        elif not name.endswith("lora_A"):
            weight.requires_grad = False
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% whole LoRA layers -> The weight inside a LoRA layer is trained too
def train_only_adapters(model):
    model.requires_grad_(False)
    for module in model.modules():
        if hasattr(module, "lora_A"):
            module.requires_grad_(True)
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% the inside of LoRA layers is left as it was -> The weight inside a LoRA layer is trained too
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.requires_grad_(True)
            n_trained += weight.numel()
        elif "base_layer" not in name:
            weight.requires_grad_(False)
    return n_trained


# %% the matrices of LoRA layers -> The weight inside a LoRA layer is trained too
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name or name.endswith("base_layer.weight"))
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained


# %% the base layers alone are frozen -> Layers without LoRA are trained too
def train_only_adapters(model):
    for name, weight in model.named_parameters():
        weight.requires_grad = "base_layer" not in name
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% the base layers alone are frozen, A and B set -> Layers without LoRA are trained too
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        if "base_layer" in name:
            weight.requires_grad = False
        elif "lora_" in name:
            weight.requires_grad = True
            n_trained += weight.numel()
    return n_trained


# %% the base layers alone are frozen, the others as they were -> Layers without LoRA are trained too
def train_only_adapters(model):
    for name, weight in model.named_parameters():
        if "base_layer" in name:
            weight.requires_grad = False
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% norms -> Norms, biases, the embedding or the head are trained too
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name or "norm" in name)
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained


# %% biases -> Norms, biases, the embedding or the head are trained too
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_(not name.endswith("weight"))
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained


# %% biases as they were -> Norms, biases, the embedding or the head are trained too
def train_only_adapters(model):
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.requires_grad = True
        elif name.endswith("weight"):
            weight.requires_grad = False
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% the embedding as it was -> Norms, biases, the embedding or the head are trained too
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        if "embed" not in name:
            weight.requires_grad_("lora_" in name)
            n_trained += weight.numel() * weight.requires_grad
    return n_trained


# %% the head -> Norms, biases, the embedding or the head are trained too
def train_only_adapters(model):
    for name, weight in model.named_parameters(remove_duplicate=False):
        weight.requires_grad_("lora_" in name or "lm_head" in name)
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% the embedding and the head -> Norms, biases, the embedding or the head are trained too
def train_only_adapters(model):
    for name, weight in model.named_parameters():
        weight.requires_grad_(any(part in name for part in ("lora_", "embed_tokens", "lm_head")))
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


# %% linear layers alone are frozen -> Norms, biases, the embedding or the head are trained too
def train_only_adapters(model):
    n_trained = 0
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.requires_grad_(False)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.requires_grad_(True)
            n_trained += weight.numel()
    return n_trained


# %% counts all -> This counts all weights
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        n_trained += weight.numel()
    return n_trained


# %% counts all, a tied head too -> This counts all weights
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters(remove_duplicate=False):
        weight.requires_grad_("lora_" in name)
        n_trained += weight.numel()
    return n_trained


# %% counts the frozen -> This counts the weights that are frozen
def train_only_adapters(model):
    n_frozen = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        if not weight.requires_grad:
            n_frozen += weight.numel()
    return n_frozen


# %% counts first -> This counts what was trained before
def train_only_adapters(model):
    n_trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
    return n_trained


# %% counts A and B first -> This counts what was trained before
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        if "lora_" in name and weight.requires_grad:
            n_trained += weight.numel()
        weight.requires_grad_("lora_" in name)
    return n_trained


# %% counts tensors -> This counts matrices or their rows
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        n_trained += weight.requires_grad
    return n_trained


# %% counts rows -> This counts matrices or their rows
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        if weight.requires_grad:
            n_trained += len(weight)
    return n_trained


# %% counts A -> This counts A alone
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        if "lora_A" in name:
            n_trained += weight.numel()
    return n_trained


# %% counts B -> This counts A alone
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        if name.endswith("B"):
            n_trained += weight.numel()
    return n_trained


# %% counts in every module -> Weights are counted more than once
def train_only_adapters(model):
    n_trained = 0
    for module in model.modules():
        for name, weight in module.named_parameters():
            weight.requires_grad_("lora_" in name)
            if weight.requires_grad:
                n_trained += weight.numel()
    return n_trained


# %% counts twice -> Weights are counted more than once
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        if "lora_" in name:
            n_trained += weight.numel()
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained


# %% a share -> This is a share of the weights
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained / sum(weight.numel() for weight in model.parameters())


# %% per cent -> This is a share of the weights
def train_only_adapters(model):
    n_trained, n_weights = 0, 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        n_trained += weight.numel() * weight.requires_grad
        n_weights += weight.numel()
    return 100 * n_trained / n_weights


# %% no count -> does every way through it end in
def train_only_adapters(model):
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)


# %% the model -> how many weights are trained is one number
def train_only_adapters(model):
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
    return model


# %% zeros in what is frozen -> only their requires_grad is to be set
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        if weight.requires_grad:
            n_trained += weight.numel()
        else:
            weight.zero_()
    return n_trained


# %% new parameters -> only their requires_grad is to be set
def train_only_adapters(model):
    n_trained = 0
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(weight.detach(), requires_grad="lora_" in name))
            n_trained += weight.numel() * ("lora_" in name)
    return n_trained


# %% the first block alone -> Not right yet
def train_only_adapters(model):
    n_trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("layers.0" in name and "lora_" in name)
        if weight.requires_grad:
            n_trained += weight.numel()
    return n_trained
