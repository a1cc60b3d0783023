"""Rewards beside the ranker's: its personal part, relevance, aesthetics, and `package.module:name` of the user's own.

May import: `generation.reward`, `generation.gallery` and what they may import. Begin with `relevance.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
