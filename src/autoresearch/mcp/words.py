"""What an agent reads before it calls anything: the server's instructions and the tools' descriptions."""

from __future__ import annotations

INSTRUCTIONS = """\
Autoresearch improves one number of this project. You have the ideas and edit the files; it measures, decides what is
kept, and records. No number of yours counts.
Work in a loop: `brief` first (the goal, the files you may edit, what was tried); make one change in the files; `try` it;
read the verdict and its reason; undo what was not kept; go on from there. Where `try` answers that its job is still
running, call `wait` until it is decided. Stop when an answer says that the budget is spent or the run was stopped."""

BRIEF = """\
Read this first: the goal and the metric, the files you may edit and where, the rules, the best so far, what was tried and
why it failed. Read it again after a keep. Changes nothing."""

TRY = """\
Measure the change that you made in the editable files (`brief` names them) against the best kept version, and get the
verdict: keep, discard, crash, timeout or invalid, with numbers and the reason. Edit the files first; one idea a call. The
harness runs the evaluation itself, on a clean copy, and decides alone: numbers that you report do not count. Changing
what is not editable, the evaluation included, makes a change invalid. Do not commit.
The first call of a run measures the unchanged files before yours, which takes longer. What is not decided after `wait_s`
seconds answers with its job number: call `wait` with that, and leave the files alone meanwhile.
`state` is decided; running (not yet: `wait`); over (the budget is spent: end your work); stopped (the owner ended the
run: end your work); or failed (the set-up is broken: tell the user)."""

MESSAGE = "First line: what you changed, in a few words. Further lines, optional: why it should help."

EXPECT = "By how much you expect the metric to change, with its sign, as '-1 %' or '+0.5 %'. Optional."

WAIT = """\
Get the verdict on a job that `try` answered with; the same answer as there. Call it again while `state` is running. A job
goes on whether you ask or not."""

STATUS = "How the run stands: baseline, the best so far, what is under way, what is left of the budget, whether it is over."

HISTORY = "The last experiments, a line each: verdict, reason, value, what was tried, by whom. `show` has the details of one."

SHOW = """\
One experiment: verdict and reason, measurements, its diff, the end of its log. For learning from a failure or a near
miss."""

IDEA = """\
Leave one line for whoever works on this run later, other agents included: an idea that you will not try yourself. It
measures nothing; to have a change measured, `try` it. Without text: the ideas so far."""
