"""The durable record: the event chain, and the stores behind the Ledger contract."""

from autoresearch.ledger.memory import MemoryLedger
from autoresearch.ledger.sqlite import SqliteLedger, is_made

__all__ = ["MemoryLedger", "SqliteLedger", "is_made"]
