"""The config of an experiment: one frozen, strict tree, read from a RecBole YAML and `--key=value`.

May import: `ragar_rec.errors`, and of `recsys` and `generation` the config classes and the names that a key may have.
Begin with `config.py`; the keys of a section are the fields of its dataclass.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
