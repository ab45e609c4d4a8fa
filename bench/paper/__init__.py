"""The paper, item by item: an experiment for each table and figure, and one page with all of them."""
