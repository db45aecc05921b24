"""Files of a fixed size that one process writes, on a disk that may be full."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def lock(fd: int) -> None:
    """For this process alone. Raises OSError, and closes it, where another one has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise OSError("another process uses it") from None


def allocate(fd: int, size: int) -> None:
    """Blocks for the whole file; OSError where the disk has not so many."""
    os.posix_fallocate(fd, 0, size)


def sync_folder(folder: Path) -> None:
    """Let a file that was made or renamed in it survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
