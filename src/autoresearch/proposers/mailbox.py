"""`autoresearch probe` for a program that proposes: it asks by a file, the harness tries out what the tree holds and answers.

By files, since every sandbox lets them through, an agent program's own as well. What a program writes there tells nobody but
itself.
"""
