"""The report: one HTML page from plain data.

May import: `ragar_rec.evaluation`. Begin with `report.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
