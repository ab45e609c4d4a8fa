"""Extractors: one file per network family; face views in, features out."""
