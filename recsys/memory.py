"""Peak memory of this process."""

from __future__ import annotations

import re
from pathlib import Path


def peak_memory() -> int:
    """Most bytes that this process ever held. (Linux's ru_maxrss would begin at what its parent held.)

    Raises:
        OSError: not on Linux.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text() if status.is_file() else "")
    if found is None:
        raise OSError("/proc/self/status names no VmHWM; memory is measured on Linux only")
    return 1024 * int(found[1])
