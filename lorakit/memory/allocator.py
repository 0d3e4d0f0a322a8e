"""torch's caching allocator of GPU memory, without the memory: what is allocated, and what is reserved of the card."""

from bisect import bisect_left, insort

MIB = 2**20
ALIGNMENT = 512
"""A block is a multiple of so many bytes."""


def block_bytes(size: int) -> int:
    """Bytes that a tensor takes, if many of its size are made one after the other, as a model's layers make them.

    From 10 MiB on each has a segment of its own, in steps of 2 MiB; smaller ones share segments of 20 MiB. What is left
    of a segment is lost where it is at most 1 MiB. (Sizes that mix fill each other's gaps: see `CachingAllocator`.)
    """
    size = -(-size // ALIGNMENT) * ALIGNMENT
    if size <= MIB:
        return size
    blocks = 1 if size >= 10 * MIB else 20 * MIB // size
    over = -size % (2 * MIB) if size >= 10 * MIB else 20 * MIB - blocks * size
    return size + over // blocks if over <= MIB else size


class Block:
    """A piece of a segment, and its neighbours in it."""

    __slots__ = ("address", "after", "before", "size", "small")

    def __init__(self, address: int, size: int, small: bool):
        self.address, self.size, self.small = address, size, small
        self.before: Block | None = None
        self.after: Block | None = None

    @property
    def is_segment(self) -> bool:
        return self.before is None and self.after is None

    def __lt__(self, other: "Block") -> bool:
        return (self.size, self.address) < (other.size, other.address)


class CachingAllocator:
    """Follows c10/cuda/CUDACachingAllocator.cpp as it is by default (no expandable segments).

    A block comes from the smallest free one that holds it, else from a new segment of the card: of 2 MiB for blocks up
    to 1 MiB, of 20 MiB for those below 10 MiB, and for larger ones of their own size rounded up to 2 MiB. What is left
    of a free block is split off, but of large ones only where it is more than 1 MiB: so a block may be up to that
    larger than was asked for. Freed blocks stay reserved, and join with free neighbours.
    """

    def __init__(self):
        self.allocated = 0
        self.reserved = 0
        self._free: dict[bool, list[Block]] = {True: [], False: []}  # by small or not, sorted
        self._end = 0

    def malloc(self, size: int) -> Block:
        """A block of at least `size` bytes."""
        size = max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)
        small = size <= MIB
        free = self._free[small]
        place = bisect_left(free, Block(-1, size, small))
        block = free.pop(place) if place < len(free) else self._segment(size, small)
        rest = block.size - size
        if rest >= ALIGNMENT if small else rest > MIB:
            left = Block(block.address + size, rest, small)
            left.before, left.after = block, block.after
            if left.after:
                left.after.before = left
            block.size, block.after = size, left
            insort(free, left)
        self.allocated += block.size
        return block

    def _segment(self, size: int, small: bool) -> Block:
        size = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
        block = Block(self._end, size, small)
        self._end += size
        self.reserved += size
        return block

    def free(self, block: Block) -> None:
        """Give a block back to the cache."""
        self.allocated -= block.size
        free = self._free[block.small]
        if block.before and self._take(free, block.before):
            block = self._join(block.before, block)
        if block.after and self._take(free, block.after):
            block = self._join(block, block.after)
        insort(free, block)

    @staticmethod
    def _join(block: Block, after: Block) -> Block:
        block.size += after.size
        block.after = after.after
        if block.after:
            block.after.before = block
        return block

    @staticmethod
    def _take(free: list[Block], block: Block) -> bool:
        """Take `block` out of the free ones, where it is one."""
        place = bisect_left(free, block)
        if place < len(free) and free[place] is block:
            free.pop(place)
            return True
        return False

    def empty_cache(self) -> None:
        """Give the card back each segment that is free as a whole, as torch.cuda.empty_cache() does."""
        for small, free in self._free.items():
            self.reserved -= sum(block.size for block in free if block.is_segment)
            self._free[small] = [block for block in free if not block.is_segment]
