"""Other systems that make pictures, one a file: whatever answers requests (`generation.request.Generator`).

May import: everything of `generation` but `ragar`. None is here yet; RAGAR has the room beside this one.
"""
