"""A run in the formats of others: Every Eval Ever, the Hub's evaluation results, Markdown.

Each module turns a public run (`bench.exchange.public`) into files. None of them holds a person, a path or an
embedding.
The two JSON schemas in `schemas/` are those of every-eval-ever 0.3.0 (MIT, their licence lies next to them), unchanged.
"""
