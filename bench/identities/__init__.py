"""Sampled identities: components of embeddings, distinct vectors drawn from them, and the images of one person."""
