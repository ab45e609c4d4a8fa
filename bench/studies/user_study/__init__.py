"""Forced choice between methods: a static page for raters, and what their votes say."""
