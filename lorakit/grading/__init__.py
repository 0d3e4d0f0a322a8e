"""`lorakit grade`: a learner's answers, run in a fresh copy of the solved lesson. Start reading at `grade`.

submission   the answers in a learner's notebook, however it was mauled
needs        which cells of the lesson an answer and its check need
graded_copy  the notebook that is run
kernel       what the copy runs right before each check
plugin       the one module that knows nbval: runs the copy, cell by cell, and records what came of each
sandbox      a process group with a time limit, a memory cap and no network
grade        puts these together, and decides each exercise
report       the table, JSON and CSV
classroom    a folder of many learners' notebooks, side by side
"""

import sys

# jsonschema, which nbformat loads, builds a grammar of web addresses where this package is there (JupyterLab brings
# it). No notebook needs that, and it took more than a third of a run of lesson 00: 1.5 s of 4.0 on a CPU.
sys.modules.setdefault("rfc3987_syntax", None)
