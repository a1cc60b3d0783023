"""The door to diffusers: codec, UNet, sampling, LoRA, and the training of the small backbone.

May import: `generation.encoders` and what that may import, `generation.training`, `generation.precision`,
`generation.settings`. Begin with `backbone.py`: one class for the small pipeline and for SD-1.5.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
