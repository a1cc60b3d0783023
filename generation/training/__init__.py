"""The training loop that all small models share: it can be stopped at any step and goes on to the same bits.

May import: `generation.checkpoint`. Begin with `loop.py`, the class `Training`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
