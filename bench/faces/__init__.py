"""Faces: an image becomes a `Face`, and a Face gives the views that networks look at."""
