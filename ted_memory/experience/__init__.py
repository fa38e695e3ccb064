"""The rules about experiences: no I/O, and no model is asked. Each file answers one question.

| file | question |
|---|---|
| `rendering.py` | how does an experience stand in a prompt, and what does it cost there? |
| `edits.py` | what does an edit check and write? |
| `identity.py` | are two lessons one, or do they say the same? |
| `capacity.py` | does it fit under the caps, and who goes? |
| `lineage.py` | where does a lesson come from, and how is a source taken out? |
| `lift.py` | how much is it worth, for the order among others? |
| `betting.py` | does it help, in a run over a data set? |
| `ranking.py` | which experiences is a question about? |
| `assignment.py` | which of them does one request see? |
| `evidence.py` | what has traffic shown of a lesson? |
| `concerns.py`, `acts.py` | does it need a person's approval for its words? |
| `trials.py` | which step of a lesson from traffic is due? |
| `waiting.py`, `forecast.py` | what does it wait for, and how long will that take? |
"""
