"""A tape of a forward pass in bytes: what each operation keeps for its backward pass, and what that pass needs.

The rules are torch.autograd's. An operation none of whose inputs wants a gradient keeps nothing. A kept tensor counts
once, however many operations keep it, and is freed when the last of them has gone backward. A gradient is as large as
what it is the gradient of, and is freed when the operation that it came to has gone backward.
"""

from collections.abc import Iterable


class Tensor:
    """So many bytes, and whether a gradient comes to them."""

    __slots__ = ("bytes", "grad")

    def __init__(self, bytes: int, grad: bool = False):
        self.bytes, self.grad = bytes, grad


class Tape:
    """The operations of a forward pass, in their order."""

    def __init__(self):
        self.operations: list[tuple] = []
        self.uses: dict[Tensor, int] = {}

    def op(
        self,
        out_bytes: int,
        *inputs: Tensor,
        keeps: Iterable[Tensor] = (),
        keeps_result: bool = False,
        weight_grad: int = 0,
        work: int = 0,
        passes: bool = False,
    ) -> Tensor:
        """Record an operation; returns its output.

        Args:
            keeps: tensors that its backward pass reads; `keeps_result`, where it reads its own output too.
            weight_grad: bytes of the gradients that it leaves behind, of the weights that it trains.
            work: bytes that its backward pass needs for itself.
            passes: its gradient goes on as it is, such as a sum's, where the sizes agree.
        """
        out = Tensor(out_bytes, bool(weight_grad) or any(each.grad for each in inputs))
        if out.grad:
            keeps = (*keeps, out) if keeps_result else tuple(keeps)
            self.operations.append((out, inputs, keeps, weight_grad, work, passes))
            for tensor in keeps:
                self.uses[tensor] = self.uses.get(tensor, 0) + 1
        return out

    @property
    def kept_bytes(self) -> int:
        """Bytes that live from the forward to the backward pass."""
        return sum(tensor.bytes for tensor in self.uses)

    def backward(self, out_grad: int) -> tuple[int, int]:
        """Go back through the tape, beginning with a gradient of so many bytes at its end.

        Returns the most bytes that this takes beyond those at its beginning, and what gradients of weights it leaves.
        """
        uses = dict(self.uses)
        grads: dict[Tensor, int] = {}
        if self.operations:
            grads[self.operations[-1][0]] = out_grad
        live = most = left = 0
        for out, inputs, keeps, weight_grad, work, passes in reversed(self.operations):
            grad = grads.pop(out, 0)
            wanted = [each for each in inputs if each.grad]
            new = sum(each.bytes for each in wanted if not (passes and each.bytes == out.bytes))
            most = max(most, live + new + weight_grad + work)
            live += new + weight_grad
            left += weight_grad
            handed_on = False
            for each in wanted:
                same = passes and each.bytes == out.bytes
                if each in grads:  # added, in place, to the gradient that came there before
                    live -= 0 if same else each.bytes
                elif same:  # the one storage for all to whom it goes
                    grads[each] = 0 if handed_on else grad
                    handed_on = True
                else:
                    grads[each] = each.bytes
            live -= 0 if handed_on else grad
            for tensor in keeps:
                uses[tensor] -= 1
                if not uses[tensor]:
                    live -= tensor.bytes
        return most, left
