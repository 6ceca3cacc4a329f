"""Where evaluations run: on this machine, or in this process for Python callables."""

from autoresearch.runners.callables import CallableRunner
from autoresearch.runners.local import LocalRunner

__all__ = ["CallableRunner", "LocalRunner"]
