"""The same for an agent as tools of the Model Context Protocol: `brief`, `try`, `wait`, `status`, `history`, `show`, `idea`.

`server` has the tools on the official SDK and is the only module that needs the extra `mcp`; `seat` does what they ask, and
blocks; `seen` is what whoever drives may see of a run; `clients` says what to write where so that an agent starts the server.
"""
