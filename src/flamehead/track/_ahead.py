"""The next frames are decoded while this one is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")
_END = object()


@contextmanager
def ahead(items: Iterator[T], *, depth: int = 2) -> Iterator[Iterator[T]]:
    """Take items from an iterator in a thread, a few more than were asked for; its errors are raised here.

    Example:
        >>> with ahead(iter(range(3))) as items:
        ...     list(items)
        [0, 1, 2]
    """
    waiting, stop = queue.Queue[object](maxsize=depth), threading.Event()

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_END)
        except BaseException as error:
            put(_Failed(error))

    def taken() -> Iterator[T]:
        while (item := waiting.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item  # pyright: ignore[reportReturnType]

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stop.set()
        thread.join()


class _Failed:
    def __init__(self, error: BaseException) -> None:
        """What the thread met."""
        self.error = error
