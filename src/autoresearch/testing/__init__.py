"""Doubles and conformance suites for those who write proposers, acceptance rules or ledgers; our own tests use the same.

Rules for noisy metrics are tried in `worlds` of known truth: `honesty` says what a rule keeps there, `nights` what it is worth.
"""

from autoresearch.testing.canonical import canonical
from autoresearch.testing.doubles import Hired, InProcessRunner, Patch, Scripted

__all__ = ["Hired", "InProcessRunner", "Patch", "Scripted", "canonical"]
