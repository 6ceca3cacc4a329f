"""An agent, or a person, in the driving seat: changes that are tried from outside of a run's session, and what is answered.

`places` knows which folder is meant and what was changed there, `trees` makes trees of one's own; `jobs` leaves requests with
a run's owner, starts one where there is none, and waits; `serving` is that owner; `replies` has the words and the JSON. No
decision is taken here.
"""
