"""Other systems that generate pictures, one a file; each is a `generation.request.Generator`.

May import: everything of `generation` but `ragar`. There is none yet; RAGAR is in `generation.ragar`.
"""
