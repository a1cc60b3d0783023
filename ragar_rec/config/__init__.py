"""The config of an experiment: one frozen, strict tree, read from a RecBole YAML and `--key=value`.

May import: the config classes of `recsys` and `generation`, and `store`. Begin with `config.py`; the keys of a section
are the fields of its dataclass.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
