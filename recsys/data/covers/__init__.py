"""Rendered covers: images of films drawn from their genres, decade and title.

May import: nothing of this library outside this package. Begin with `film_cover.py`; motifs, ornaments and layouts are
drawing functions in tables.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
