"""A widget that is heard while its cell is busy.

A kernel takes the messages of the shell channel one after the other, so a click waits until the running cell has ended.
(jupyter_ui_poll is the library for this, and hears nothing from ipykernel 7.1 on, where `do_one_iteration` is gone.)
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import ipywidgets as ipw
from IPython import get_ipython

if TYPE_CHECKING:
    from ipykernel.kernelbase import Kernel
    from zmq.eventloop.zmqstream import ZMQStream


@contextlib.contextmanager
def messages_of(widget: ipw.Widget) -> Iterator[Callable[[], object]]:
    """Yields a function that handles what has come in for `widget`, to be called now and then by the busy cell.

    All other messages keep their turn and their order, so the cells of Run All still follow one another. Where the
    kernel cannot be asked, the function does nothing.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    stream = _stream_of_cells(kernel)
    if stream is None:
        yield lambda: None
        return
    wait_their_turn = stream._recv_callback

    def receive(frames):
        try:
            ident, rest = kernel.session.feed_identities(frames, copy=False)
            peeked = kernel.session.deserialize(rest, content=False, copy=False)
            ours = peeked["header"]["msg_type"] == "comm_msg"
            ours = ours and kernel.session.unpack(peeked["content"])["comm_id"] == widget.comm.comm_id
        except Exception:  # what cannot be read is the kernel's to complain about
            ours = False
        if not ours:
            return wait_their_turn(frames)
        kernel.shell_handlers["comm_msg"](stream, ident, kernel.session.deserialize(rest, copy=False))

    stream.on_recv(receive, copy=False)
    try:
        yield lambda: _flush(stream)
    finally:
        stream.on_recv(wait_their_turn, copy=False)


def _flush(stream: "ZMQStream") -> None:
    with contextlib.suppress(Exception):  # a run that cannot hear a click still goes on
        stream.flush()


def _stream_of_cells(kernel: "Kernel | None") -> "ZMQStream | None":
    """Where cells to run come in, and clicks with them; None where there is no such thing, or not on this thread."""
    if kernel is None or threading.current_thread() is not threading.main_thread():
        return None
    with contextlib.suppress(AttributeError):
        if getattr(kernel, "shell_channel_thread", None):  # ipykernel 7: a thread takes them and hands them on
            return kernel.shell_channel_thread.manager.get_shell_channel_to_subshell_pair(None).to_stream
        return kernel.shell_stream
    return None
