"""Stages: objects that know their parents, each a folder in the store that is built when first asked for.

May import: `ragar_rec.augment`, `report`, `evaluation`, `config` and `store`, `recsys` and `generation`. Begin with
`stage.py`.
"""
