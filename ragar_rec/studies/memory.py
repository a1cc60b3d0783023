"""Peak memory of the current process."""

from __future__ import annotations

import re
from pathlib import Path


def peak_memory() -> int:
    """Largest resident memory that this process ever had, in bytes.

    Raises:
        OSError: not on Linux.
    """
    # Not getrusage's ru_maxrss, which begins at what the parent process held.
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text() if status.is_file() else "")
    if peak is None:
        raise OSError("/proc/self/status names no VmHWM; memory is measured on Linux only")
    return 1024 * int(peak[1])
