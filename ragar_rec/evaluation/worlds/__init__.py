"""Planted worlds: simulated shops in which the true gain of showing generated pictures is known.

May import: `ragar_rec.evaluation`, `recsys`, `generation`. Begin with `scenarios.py`: what is planted in each world,
and why which verdict is right. `shop.py` and `clicks.py` are the people; `trial.py` asks the library, the truth beside
it. `picture_shop.py` is a shop of real pictures, for which pictures are generated; `eye.py` is what people see of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
