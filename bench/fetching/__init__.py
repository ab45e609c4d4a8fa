"""How weights and data come: one address to one whole file, files out of a zip, and where to look first."""
