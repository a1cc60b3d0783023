"""Recommender half of the library: catalogues, data sets, rankers, scores and statistics. Ids in, scores out."""
