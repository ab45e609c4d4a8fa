"""idbench: the benchmark for identity-conditioned face generation."""

__version__ = "0.1.0"
