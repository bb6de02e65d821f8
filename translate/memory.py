"""Memory that is given back and asked for again, a training step after another."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # the options' numbers in malloc.h


def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory for this process, where it is glibc; elsewhere nothing happens.

    By default glibc returns every large block to the system and takes it anew, and the system fills each page of it
    with zeros first: of a pix2pix step on a CPU that is a tenth. In return the process never shrinks.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(MMAP_MAX, 0)
    library.mallopt(TRIM_THRESHOLD, -1)
