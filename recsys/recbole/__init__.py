"""The door to RecBole 1.2.1: configuration, data set and splits, trainer, checkpoints. Nothing else imports recbole.

May import: `recsys.{features, catalog, tables, distributed, settings}`. Begin with `config.py` and `dataset.py`; what
RecBole does to a process (argv, environment, NumPy names, seeds, root logger) is undone by `isolation.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
