"""Results on disk: finished stages by content key, pictures in shards, training curves.

May import: `ragar_rec.version`, `generation.request` and `generation.training`. Begin with `store.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
