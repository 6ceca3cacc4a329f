"""Children and their trees: a supervisor that contains, times, logs and kills them, and the harness's side of it."""

from autoresearch.process.children import Exit, Job, Supervisor
from autoresearch.process.layers import Layer, can_layer

__all__ = ["Exit", "Job", "Layer", "Supervisor", "can_layer"]
