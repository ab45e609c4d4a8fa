"""Training and testing of face recognisers."""
