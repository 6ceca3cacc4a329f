"""Doubles and conformance suites for those who write proposers, acceptance rules or ledgers; our own tests use the same."""

from autoresearch.testing.canonical import canonical
from autoresearch.testing.doubles import InProcessRunner, Patch, Scripted

__all__ = ["InProcessRunner", "Patch", "Scripted", "canonical"]
