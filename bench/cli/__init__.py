"""The verbs: each parses its arguments, calls the rooms and prints."""
