"""Where changes become candidates and candidates become trees: in git for projects, in memory for `optimize`."""

from autoresearch.workspace.repository import GitWorkspace
from autoresearch.workspace.states import StateWorkspace

__all__ = ["GitWorkspace", "StateWorkspace"]
