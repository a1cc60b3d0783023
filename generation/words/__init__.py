"""Words about items: captions, keywords (eq. 6), prompts, and the answers of instruction LLMs.

May import: `generation.encoders` and what that may import, and `generation.request`. Begin with `config.py`, the
section `words` of the config.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
