"""Evaluation: people, requests, protocols, controls, and the frames of numbers that they give.

May import: `ragar_rec.config`, `recsys` and `generation`. Begin with `protocols.py`, where a new protocol goes; a new
control goes to `controls.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
