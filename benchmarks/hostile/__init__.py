"""Hostile candidates and proposers, and the small projects in which they are tried: what `benchmarks/gaming.py` runs."""
