"""Tables, figures and pages, from the tidy tables alone."""
