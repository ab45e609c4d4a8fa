"""Datasets: lists of photos, and the photos themselves."""
