# %% hard-coded -> returns the same for every input
def combine(adapters, weights):
    return torch.ones(8, 9)


# %% sums multiplied, weights on both -> A's are added to A's and B's to B's
def combine(adapters, weights):
    A = sum(weight * A for (A, B, lora_alpha), weight in zip(adapters, weights))
    B = sum(weight * B for (A, B, lora_alpha), weight in zip(adapters, weights))
    lora_alpha = adapters[0][2]
    return lora_alpha / A.shape[0] * (B @ A)


# %% sums multiplied, weights on A -> A's are added to A's and B's to B's
def combine(adapters, weights):
    sum_of_a, sum_of_b = 0, 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        sum_of_a += weight * lora_alpha / A.shape[0] * A
        sum_of_b += B
    return sum_of_b @ sum_of_a


# %% sums multiplied, weights on B, the last alpha -> A's are added to A's and B's to B's
def combine(adapters, weights):
    sum_of_a, sum_of_b = 0, 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        sum_of_a = sum_of_a + A
        sum_of_b = sum_of_b + weight * B
    return lora_alpha / A.shape[0] * (sum_of_b @ sum_of_a)


# %% sums multiplied, roots on both -> A's are added to A's and B's to B's
def combine(adapters, weights):
    sum_of_a, sum_of_b = 0, 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        root = (weight * lora_alpha / A.shape[0]) ** 0.5
        sum_of_a = sum_of_a + root * A
        sum_of_b = sum_of_b + root * B
    return sum_of_b @ sum_of_a


# %% sums multiplied, the mean alpha -> A's are added to A's and B's to B's
def combine(adapters, weights):
    A = sum(weight * A for (A, _, _), weight in zip(adapters, weights))
    B = sum(weight * B for (_, B, _), weight in zip(adapters, weights))
    lora_alpha = sum(lora_alpha for _, _, lora_alpha in adapters) / len(adapters)
    return lora_alpha / A.shape[0] * (B @ A)


# %% no weights -> The weights are left out
def combine(adapters, weights):
    return sum(lora_alpha / A.shape[0] * (B @ A) for A, B, lora_alpha in adapters)


# %% not scaled -> The changes are not scaled
def combine(adapters, weights):
    return sum(weight * (B @ A) for (A, B, lora_alpha), weight in zip(adapters, weights))


# %% alpha -> The changes are scaled by alpha: it is alpha / r
def combine(adapters, weights):
    return sum(weight * lora_alpha * (B @ A) for (A, B, lora_alpha), weight in zip(adapters, weights))


# %% 1 / r -> but alpha is left out
def combine(adapters, weights):
    return sum(weight / A.shape[0] * (B @ A) for (A, B, lora_alpha), weight in zip(adapters, weights))


# %% r / alpha -> The changes are divided by alpha
def combine(adapters, weights):
    return sum(weight * A.shape[0] / lora_alpha * (B @ A) for (A, B, lora_alpha), weight in zip(adapters, weights))


# %% 1 / alpha -> The changes are divided by alpha
def combine(adapters, weights):
    return sum(weight / lora_alpha * (B @ A) for (A, B, lora_alpha), weight in zip(adapters, weights))


# %% rsLoRA -> that is rsLoRA
def combine(adapters, weights):
    total = 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        total += weight * lora_alpha / math.sqrt(A.shape[0]) * (B @ A)
    return total


# %% r is in_features -> r is one of the layer's sizes
def combine(adapters, weights):
    return sum(weight * lora_alpha / A.shape[1] * (B @ A) for (A, B, lora_alpha), weight in zip(adapters, weights))


# %% r is out_features -> r is one of the layer's sizes
def combine(adapters, weights):
    return sum(weight * lora_alpha / B.shape[0] * (B @ A) for (A, B, lora_alpha), weight in zip(adapters, weights))


# %% the first r and alpha -> One adapter's r or alpha is used for all
def combine(adapters, weights):
    A, B, lora_alpha = adapters[0]
    scaling = lora_alpha / A.shape[0]
    return scaling * sum(weight * (B @ A) for (A, B, _), weight in zip(adapters, weights))


# %% the last r and alpha -> One adapter's r or alpha is used for all
def combine(adapters, weights):
    total = 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        total = total + weight * (B @ A)
    return lora_alpha / A.shape[0] * total


# %% the first alpha -> One adapter's r or alpha is used for all
def combine(adapters, weights):
    return sum(weight * adapters[0][2] / A.shape[0] * (B @ A) for (A, B, _), weight in zip(adapters, weights))


# %% the last alpha -> One adapter's r or alpha is used for all
def combine(adapters, weights):
    return sum(weight * adapters[-1][2] / A.shape[0] * (B @ A) for (A, B, _), weight in zip(adapters, weights))


# %% the first r -> One adapter's r or alpha is used for all
def combine(adapters, weights):
    r = adapters[0][0].shape[0]
    return sum(weight * lora_alpha / r * (B @ A) for (A, B, lora_alpha), weight in zip(adapters, weights))


# %% the last r -> One adapter's r or alpha is used for all
def combine(adapters, weights):
    total = 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        total = total + weight * lora_alpha * (B @ A)
    return total / A.shape[0]


# %% the first weight -> One weight is used for all
def combine(adapters, weights):
    return sum(weights[0] * lora_alpha / A.shape[0] * (B @ A) for A, B, lora_alpha in adapters)


# %% the last weight -> One weight is used for all
def combine(adapters, weights):
    total = 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        total = total + lora_alpha / A.shape[0] * (B @ A)
    return weight * total


# %% weights on both -> The weight is on A and on B
def combine(adapters, weights):
    total = 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        total = total + lora_alpha / A.shape[0] * (weight * B) @ (weight * A)
    return total


# %% weights and scalings on both -> The weight is on A and on B
def combine(adapters, weights):
    total = 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        factor = weight * lora_alpha / A.shape[0]
        total = total + (factor * B) @ (factor * A)
    return total


# %% scalings on both -> alpha / r is on A and on B
def combine(adapters, weights):
    total = 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        scaling = lora_alpha / A.shape[0]
        total = total + weight * (scaling * B) @ (scaling * A)
    return total


# %% a mean -> This is a mean over the adapters
def combine(adapters, weights):
    changes = [w * lora_alpha / A.shape[0] * (B @ A) for (A, B, lora_alpha), w in zip(adapters, weights)]
    return torch.stack(changes).mean(dim=0)


# %% weights that add up to 1 -> This divides by the sum of the weights
def combine(adapters, weights):
    shares = [weight / sum(weights) for weight in weights]
    return sum(share * lora_alpha / A.shape[0] * (B @ A) for (A, B, lora_alpha), share in zip(adapters, shares))


# %% return in the loop -> This is one adapter's change alone
def combine(adapters, weights):
    total = 0
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        total = total + weight * lora_alpha / A.shape[0] * (B @ A)
        return total


# %% the last one overwrites -> This is one adapter's change alone
def combine(adapters, weights):
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        total = weight * lora_alpha / A.shape[0] * (B @ A)
    return total


# %% the first one, not weighted -> This is one adapter's change alone
def combine(adapters, weights):
    A, B, lora_alpha = adapters[0]
    return lora_alpha / A.shape[0] * (B @ A)


# %% the first one, as it is -> This is one adapter's change alone
def combine(adapters, weights):
    A, B, lora_alpha = adapters[0]
    return B @ A


# %% a list -> one matrix is wanted, the sum of the changes
def combine(adapters, weights):
    return [w * lora_alpha / A.shape[0] * (B @ A) for (A, B, lora_alpha), w in zip(adapters, weights)]


# %% stacked -> These are the changes one by one
def combine(adapters, weights):
    return torch.stack([w * lora_alpha / len(A) * (B @ A) for (A, B, lora_alpha), w in zip(adapters, weights)])


# %% transposed -> The sum is transposed
def combine(adapters, weights):
    return sum(w * lora_alpha / A.shape[0] * (A.T @ B.T) for (A, B, lora_alpha), w in zip(adapters, weights))


# %% a product -> Not right yet
def combine(adapters, weights):
    total = 1
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        total = total * weight * lora_alpha / A.shape[0] * (B @ A)
    return total
