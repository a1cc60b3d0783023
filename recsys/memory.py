"""Peak memory of the current process."""

from __future__ import annotations

import re
from pathlib import Path


def peak_memory() -> int:
    """Peak resident memory of this process in bytes.

    Raises:
        OSError: not on Linux.
    """
    # Not getrusage: on Linux ru_maxrss of a child process starts at the peak of its parent.
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text() if status.is_file() else "")
    if peak is None:
        raise OSError("/proc/self/status names no VmHWM; memory is measured on Linux only")
    return 1024 * int(peak[1])
