"""Hostile candidates and hostile proposers, and the small projects in which they are tried: what `benchmarks/gaming.py` runs."""
