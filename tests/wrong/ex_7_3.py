# %% hard-coded -> returns the same for every input
def mended_and_broken(truth, before, after):
    return 45, 12


# %% swapped -> The two are swapped
def mended_and_broken(truth, before, after):
    rows = list(zip(truth, before, after, strict=True))
    return sum(b == t != a for t, b, a in rows), sum(b != t == a for t, b, a in rows)


# %% every other flip is broken -> is not broken: it was wrong before
def mended_and_broken(truth, before, after):
    flips = [(t, a) for t, b, a in zip(truth, before, after, strict=True) if b != a]
    mended = sum(t == a for t, a in flips)
    return mended, len(flips) - mended


# %% every other flip is mended -> is not mended: it is wrong still
def mended_and_broken(truth, before, after):
    flips = [(t, b) for t, b, a in zip(truth, before, after, strict=True) if b != a]
    broken = sum(t == b for t, b in flips)
    return len(flips) - broken, broken


# %% wrong once and changed -> is neither mended nor broken
def mended_and_broken(truth, before, after):
    rows = [row for row in zip(truth, before, after, strict=True) if row[1] != row[2]]
    return sum(b != t for t, b, a in rows), sum(a != t for t, b, a in rows)


# %% all flips -> how many verdicts changed
def mended_and_broken(truth, before, after):
    return sum(b != a for b, a in zip(before, after, strict=True))


# %% all that are right -> the verdicts that are right, after and before
def mended_and_broken(truth, before, after):
    return sum(map(str.__eq__, truth, after)), sum(map(str.__eq__, truth, before))


# %% all that are wrong -> the verdicts that are wrong, before and after
def mended_and_broken(truth, before, after):
    return sum(map(str.__ne__, truth, before)), sum(map(str.__ne__, truth, after))


# %% right and wrong after -> right and wrong after training
def mended_and_broken(truth, before, after):
    right = sum(t == a for t, a in zip(truth, after, strict=True))
    return right, len(truth) - right


# %% the difference -> This is the difference alone
def mended_and_broken(truth, before, after):
    return sum(map(str.__eq__, truth, after)) - sum(map(str.__eq__, truth, before))


# %% the difference, as a pair -> This is the difference alone
def mended_and_broken(truth, before, after):
    gain = sum(map(str.__eq__, truth, after)) - sum(map(str.__eq__, truth, before))
    return max(gain, 0), max(-gain, 0)


# %% the gain in accuracy -> the gain in accuracy
def mended_and_broken(truth, before, after):
    return (sum(map(str.__eq__, truth, after)) - sum(map(str.__eq__, truth, before))) / len(truth)


# %% shares -> shares of all sentences
def mended_and_broken(truth, before, after):
    rows = list(zip(truth, before, after, strict=True))
    return sum(b != t == a for t, b, a in rows) / len(rows), sum(b == t != a for t, b, a in rows) / len(rows)


# %% mended alone -> This is one of the two
def mended_and_broken(truth, before, after):
    return sum(b != t == a for t, b, a in zip(truth, before, after, strict=True))


# %% where, not how many -> These are lists
def mended_and_broken(truth, before, after):
    rows = list(enumerate(zip(truth, before, after, strict=True)))
    return [i for i, (t, b, a) in rows if b != t == a], [i for i, (t, b, a) in rows if b == t != a]


# %% also how many stayed -> Not right yet
def mended_and_broken(truth, before, after):
    rows = list(zip(truth, before, after, strict=True))
    mended, broken = sum(b != t == a for t, b, a in rows), sum(b == t != a for t, b, a in rows)
    return mended, broken, len(rows) - mended - broken
