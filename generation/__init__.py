"""What it would look like: pictures and words in, pictures out. Knows no recommender, no store, no command line."""
