"""Who would want what: catalogues, datasets, rankers and their statistics. Ids and numbers in, scores out."""
