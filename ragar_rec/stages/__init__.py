"""Stages: objects that know their parents, each a folder in the store that is built when first asked for.

May import: `ragar_rec.augment`, `report`, `evaluation`, `config` and `store`, `recsys` and `generation`. Begin with
`stage.py`. The names in `__init__.pyi` are imported when first used: a stage's module imports what it is built with.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
