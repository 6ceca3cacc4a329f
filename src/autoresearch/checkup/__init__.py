"""What `check` does: measures as a run would, finds what is in the way, and mends the task file."""
