"""The type checker that the import hook in conftest.py puts on every function of the three packages."""

from beartype import BeartypeConf, beartype

# As in PEP 484, an int is welcome where a float is annotated.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
