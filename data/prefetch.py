"""Batches made ahead of the step that takes them."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")

AHEAD = 4  # batches of a thread


def in_thread(items: Iterator[T], ahead: int = AHEAD) -> Iterator[T]:
    """The same items in the same order, made by a thread of this process; its errors are raised where they belong.

    The thread ends with the iterator, also where that is closed early.
    """
    made: queue.Queue[T | BaseException | None] = queue.Queue(ahead)
    stopped = threading.Event()

    def put(item: T | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="loader", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
