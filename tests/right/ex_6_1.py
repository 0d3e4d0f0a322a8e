# %% zeros in S
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    S = S.clone()
    S[r:] = 0
    return U @ torch.diag(S) @ Vh


# %% a sum of outer products
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return sum(S[i] * torch.outer(U[:, i], Vh[i]) for i in range(r))


# %% a projection
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, :r] @ U[:, :r].T @ W


# %% full matrices
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W)
    return U[:, :r] @ torch.diag(S[:r]) @ Vh[:r]
