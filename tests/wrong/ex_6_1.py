# %% hard-coded -> returns the same for every input
def best_rank_r(W, r):
    return torch.zeros(7, 7)


# %% smallest -> These are the smallest singular values
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, -r:] * S[-r:] @ Vh[-r:]


# %% the others -> largest singular values are left out
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, r:] * S[r:] @ Vh[r:]


# %% no values -> The singular values are missing
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, :r] @ Vh[:r]


# %% roots -> The roots of the singular values
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, :r] * S[:r].sqrt() @ Vh[:r]


# %% squares -> The squares of the singular values
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, :r] * S[:r] @ torch.diag(S[:r]) @ Vh[:r]


# %% Vh transposed -> Vh is transposed once more
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, :r] @ torch.diag(S[:r]) @ Vh.T[:r]


# %% first rows -> This cuts W itself
def best_rank_r(W, r):
    cut = torch.zeros_like(W)
    cut[:r] = W[:r]
    return cut


# %% first columns, alone -> This cuts W itself
def best_rank_r(W, r):
    return W[:, :r]


# %% U S -> This is one of the factors
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, :r] * S[:r]


# %% one too many -> One singular value too many
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, : r + 1] * S[: r + 1] @ Vh[: r + 1]


# %% one too few -> One singular value too few
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, : r - 1] * S[: r - 1] @ Vh[: r - 1]


# %% all -> All singular values are kept
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U * S @ Vh


# %% three things -> You returned 3 things
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, :r], S[:r], Vh[:r]


# %% half -> Not right yet
def best_rank_r(W, r):
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return U[:, :r] * S[:r] @ Vh[:r] / 2
