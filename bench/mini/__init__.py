"""The embedded world: a renderer of heads, networks trained on it, and the recipes that trained them."""
