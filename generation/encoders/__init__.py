"""Encoders: pictures and words to vectors (eq. 2 and 4), frozen. Each is the door to its library.

May import: `generation.tokens`, `generation.pictures` and `generation.checkpoint`. Begin with `encoder.py`, the
protocol; a new encoder is a file beside it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
