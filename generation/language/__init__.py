"""Causal language models behind a generator: read from a folder, learned from a catalogue, or given a trained prefix.

May import: `generation.checkpoint`, `training`, `tokens` and below. Begin with `loading.py`.
"""
