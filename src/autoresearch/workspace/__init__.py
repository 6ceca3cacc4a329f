"""Where changes become candidates and candidates become trees: in git for projects, in memory for `optimize`."""
