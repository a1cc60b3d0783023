"""Readers of public data sets and of your own files: raw files in, RecBole's atomic files and a catalogue out.

May import: `recsys.catalog`, `recsys.features`, `recsys.feature_files`, `recsys.recbole.splits`. Begin with `own.py`; a
new data set is a module beside it with the functions of `preparers.Preparer`, listed in `preparers.PREPARERS`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
