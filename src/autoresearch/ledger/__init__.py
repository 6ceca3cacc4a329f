"""The durable record: the event chain, and the stores behind the Ledger contract."""

from autoresearch.ledger.memory import MemoryLedger
from autoresearch.ledger.sqlite import SqliteLedger

__all__ = ["MemoryLedger", "SqliteLedger"]
