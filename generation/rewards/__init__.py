"""The ranker's reward made personal or cautious, and others beside it: relevance, aesthetics, `package.module:name`.

May import: `generation.reward`, `generation.gallery` and what they may import. Begin with `relevance.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
