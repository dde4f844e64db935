"""The generated texts as the label stage leaves them, and the API reads them: `synthetic.jsonl`, one object a line.

`text`, `label` (asked of the generator, or null), `verdict`, `probabilities` (the teacher's largest ones, or null where it read nothing).
A text's id is the number of its line, counted from 1. The lines are those of the generate stage, so another job of the same rows and
the same spec up to there has the same texts under the same ids.
"""

SYNTHETIC_FILE = "synthetic.jsonl"
KEPT = "kept"
REJECTED = "rejected"
"""Verdict on a text that the filters kept and a person did not."""
