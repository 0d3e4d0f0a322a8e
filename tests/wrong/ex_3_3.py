# %% hard-coded -> returns the same for every input
def block(x, norm_1, attention, norm_2, feed_forward):
    return torch.ones(1, 2, 3)


# %% first sum missing -> first half's sum is missing
def block(x, norm_1, attention, norm_2, feed_forward):
    x = attention(norm_1(x))
    return x + feed_forward(norm_2(x))


# %% second sum missing -> second half's sum is missing
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + attention(norm_1(x))
    return feed_forward(norm_2(x))


# %% no sum -> Nothing is added in either half
def block(x, norm_1, attention, norm_2, feed_forward):
    return feed_forward(norm_2(attention(norm_1(x))))


# %% post-norm -> norms each sum
def block(x, norm_1, attention, norm_2, feed_forward):
    x = norm_1(x + attention(x))
    return norm_2(x + feed_forward(x))


# %% norms what was made -> norms what each half has made
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + norm_1(attention(x))
    return x + norm_2(feed_forward(x))


# %% stream normed -> The stream itself is normed
def block(x, norm_1, attention, norm_2, feed_forward):
    x = norm_1(x)
    x = x + attention(x)
    x = norm_2(x)
    return x + feed_forward(x)


# %% stream normed in the first half -> The stream itself is normed
def block(x, norm_1, attention, norm_2, feed_forward):
    x = norm_1(x)
    x = x + attention(x)
    return x + feed_forward(norm_2(x))


# %% stream normed in the second half -> The stream itself is normed
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + attention(norm_1(x))
    x = norm_2(x)
    return x + feed_forward(x)


# %% parallel -> Both halves read the same x
def block(x, norm_1, attention, norm_2, feed_forward):
    return x + attention(norm_1(x)) + feed_forward(norm_2(x))


# %% second half adds to the first x -> what the attention added is lost
def block(x, norm_1, attention, norm_2, feed_forward):
    h = x + attention(norm_1(x))
    return x + feed_forward(norm_2(h))


# %% feed-forward reads the attention -> without the x that it is added to
def block(x, norm_1, attention, norm_2, feed_forward):
    h = attention(norm_1(x))
    return x + h + feed_forward(norm_2(h))


# %% x twice -> adds the x that came into the block twice
def block(x, norm_1, attention, norm_2, feed_forward):
    h = x + attention(norm_1(x))
    return x + h + feed_forward(norm_2(h))


# %% no norm in the first half -> no norm in the first half
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + attention(x)
    return x + feed_forward(norm_2(x))


# %% no norm in the second half -> no norm in the second half
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + attention(norm_1(x))
    return x + feed_forward(x)


# %% no norms -> no norm in either half
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + attention(x)
    return x + feed_forward(x)


# %% norm_1 twice -> norm_1 is in both halves
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + attention(norm_1(x))
    return x + feed_forward(norm_1(x))


# %% norm_2 twice -> norm_2 is in both halves
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + attention(norm_2(x))
    return x + feed_forward(norm_2(x))


# %% norms swapped -> two norms are swapped
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + attention(norm_2(x))
    return x + feed_forward(norm_1(x))


# %% feed-forward first -> feed-forward comes first
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + feed_forward(norm_2(x))
    return x + attention(norm_1(x))


# %% functions swapped -> feed-forward comes first
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x + feed_forward(norm_1(x))
    return x + attention(norm_2(x))


# %% first half -> This is the first half alone
def block(x, norm_1, attention, norm_2, feed_forward):
    return x + attention(norm_1(x))


# %% second half -> This is the second half alone
def block(x, norm_1, attention, norm_2, feed_forward):
    return x + feed_forward(norm_2(x))


# %% attention alone -> This is what the first half adds
def block(x, norm_1, attention, norm_2, feed_forward):
    return attention(norm_1(x))


# %% multiplies -> Not right yet
def block(x, norm_1, attention, norm_2, feed_forward):
    x = x * attention(norm_1(x))
    return x * feed_forward(norm_2(x))
