"""Readers of public data sets and of your own files: raw files in, RecBole's atomic files and a catalogue out.

May import: `recsys.catalog` and `recsys.features`. Begin with `own.py`; a new data set is a file beside it with the same
two functions, `fingerprint` and `prepare`, named in `PREPARERS`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
