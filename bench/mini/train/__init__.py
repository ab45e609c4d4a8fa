"""Recipes: one file per network; `python -m bench.mini.train` retrains all of them."""
