"""Children and their trees: a supervisor that contains, times, logs and kills them, and the harness's side of it."""

from autoresearch.process.children import Exit, Job, Supervisor
from autoresearch.process.layers import can_layer, nameable

__all__ = ["Exit", "Job", "Supervisor", "can_layer", "nameable"]
