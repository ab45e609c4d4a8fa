"""What is checked by hand before a release."""
