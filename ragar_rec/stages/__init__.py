"""Stages: objects that know their parents, each a folder in the store that is built when first asked for.

May import: everything of `ragar_rec` but `experiment`, `pipeline` and `cli`. Begin with `stage.py`.
"""
