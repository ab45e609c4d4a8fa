"""Conditions: what each sample is made from in addition to its item's own references; one file per source."""
