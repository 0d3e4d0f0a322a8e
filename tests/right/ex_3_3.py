# %% in place
def block(x, norm_1, attention, norm_2, feed_forward):
    x += attention(norm_1(x))
    x += feed_forward(norm_2(x))
    return x


# %% one line
def block(x, norm_1, attention, norm_2, feed_forward):
    return (h := x + attention(norm_1(x))) + feed_forward(norm_2(h))


# %% a loop over the halves
def block(x, norm_1, attention, norm_2, feed_forward):
    for norm, half in ((norm_1, attention), (norm_2, feed_forward)):
        x = torch.add(x, half(norm(x)))
    return x


# %% text by text
def block(x, norm_1, attention, norm_2, feed_forward):
    texts = []
    for text in x.split(1):
        attended = attention(norm_1(text))
        fed = feed_forward(norm_2(text + attended))
        texts.append(text + attended + fed)
    return torch.cat(texts)
