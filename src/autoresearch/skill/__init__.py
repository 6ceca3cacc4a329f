"""What teaches an agent to drive: one page, written where agent programs look, and taken away again.

`page` has the words and how a written file is known again; `block` puts them into an AGENTS.md and takes them out;
`spots` knows where each program looks; `changes` plans and does. Nobody is asked anything here.
"""
