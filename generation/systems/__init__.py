"""Other systems that generate pictures, one a file; each is a `generation.request.Generator`.

May import: everything of `generation` but `ragar`. Begin with `pmg/pmg.py`; RAGAR is in `generation.ragar`.
"""
