"""Training sets of aligned face crops: making, reading, writing and judging them."""
