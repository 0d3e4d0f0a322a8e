"""torch's caching allocator of GPU memory, without the memory: what is allocated, and what is reserved of the card."""

from bisect import bisect_left, insort

MIB = 2**20
ALIGNMENT = 512
"""A piece is a multiple of so many bytes."""


def block_bytes(size: int) -> int:
    """Bytes that a tensor takes, if many of its size are made one after the other, as a model's layers make them.

    From 10 MiB on each has a segment of its own, in steps of 2 MiB; smaller ones share segments of 20 MiB. What is left
    of a segment is lost where it is at most 1 MiB. (Sizes that mix fill each other's gaps: see `CachingAllocator`.)
    """
    size = -(-size // ALIGNMENT) * ALIGNMENT
    if size <= MIB:
        return size
    pieces = 1 if size >= 10 * MIB else 20 * MIB // size
    over = -size % (2 * MIB) if size >= 10 * MIB else 20 * MIB - pieces * size
    return size + over // pieces if over <= MIB else size


class Piece:
    """A piece of a segment, and its neighbours in it."""

    __slots__ = ("address", "after", "before", "size", "small")

    def __init__(self, address: int, size: int, small: bool):
        self.address, self.size, self.small = address, size, small
        self.before: Piece | None = None
        self.after: Piece | None = None

    @property
    def is_segment(self) -> bool:
        """Whether it is all of what was taken from the card in one go."""
        return self.before is None and self.after is None

    def __lt__(self, other: "Piece") -> bool:
        return (self.size, self.address) < (other.size, other.address)


class CachingAllocator:
    """Follows c10/cuda/CUDACachingAllocator.cpp as it is by default (no expandable segments).

    A piece comes from the smallest free one that holds it, else from a new segment of the card: of 2 MiB for pieces up
    to 1 MiB, of 20 MiB for those below 10 MiB, and for larger ones of their own size rounded up to 2 MiB. What is left
    of a free piece is split off, but of large ones only where it is more than 1 MiB: so a piece may be up to that
    larger than was asked for. Freed pieces stay reserved, and join with free neighbours.
    """

    def __init__(self):
        self.allocated = 0
        self.reserved = 0
        self._free: dict[bool, list[Piece]] = {True: [], False: []}  # by small or not, sorted
        self._end = 0

    def malloc(self, size: int) -> Piece:
        """A piece of at least `size` bytes."""
        size = max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)
        small = size <= MIB
        free = self._free[small]
        place = bisect_left(free, Piece(-1, size, small))
        piece = free.pop(place) if place < len(free) else self._segment(size, small)
        rest = piece.size - size
        if rest >= ALIGNMENT if small else rest > MIB:
            left = Piece(piece.address + size, rest, small)
            left.before, left.after = piece, piece.after
            if left.after:
                left.after.before = left
            piece.size, piece.after = size, left
            insort(free, left)
        self.allocated += piece.size
        return piece

    def _segment(self, size: int, small: bool) -> Piece:
        size = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
        piece = Piece(self._end, size, small)
        self._end += size
        self.reserved += size
        return piece

    def free(self, piece: Piece) -> None:
        """Give a piece back to the cache."""
        self.allocated -= piece.size
        free = self._free[piece.small]
        if piece.before and self._take(free, piece.before):
            piece = self._join(piece.before, piece)
        if piece.after and self._take(free, piece.after):
            piece = self._join(piece, piece.after)
        insort(free, piece)

    @staticmethod
    def _join(piece: Piece, after: Piece) -> Piece:
        piece.size += after.size
        piece.after = after.after
        if piece.after:
            piece.after.before = piece
        return piece

    @staticmethod
    def _take(free: list[Piece], piece: Piece) -> bool:
        """Take `piece` out of the free ones, where it is one."""
        place = bisect_left(free, piece)
        if place < len(free) and free[place] is piece:
            free.pop(place)
            return True
        return False

    def empty_cache(self) -> None:
        """Give the card back each segment that is free as a whole, as torch.cuda.empty_cache() does."""
        for small, free in self._free.items():
            self.reserved -= sum(piece.size for piece in free if piece.is_segment)
            self._free[small] = [piece for piece in free if not piece.is_segment]
