"""Parts for idbench: one module per part; `pyproject.toml` registers them."""
