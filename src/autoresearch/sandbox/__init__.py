"""Walls around a job: what it sees of the machine, how bubblewrap is told, and which kind works here."""

from autoresearch.sandbox.bubblewrap import command, gpu_devices, program
from autoresearch.sandbox.endpoints import addresses, relay_script
from autoresearch.sandbox.host import Host, leading_out

__all__ = ["Host", "addresses", "command", "gpu_devices", "leading_out", "program", "relay_script"]
