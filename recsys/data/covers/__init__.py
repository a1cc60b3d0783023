"""Rendered covers: a picture for a film from its genres, decade and title, drawn by this library.

May import: nothing of this library. Begin with `film_cover.py`; motifs, ornaments and layouts are tables of functions.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
