"""The stages: generate, extract, score, report; each reads one folder and writes the next."""
