"""The areas of `make bench`: a module each, with ``TITLE`` and ``measure``.

| module | question |
|---|---|
| `agent_calls.py` | how much longer does an agent's call take with lessons, and with peers? |
| `rendering.py` | what does the block take alone? |
| `tenants.py` | does it depend on how many namespaces a process serves? |
| `loading.py` | what do the first load and a change take? |
| `committing.py` | how many commits a second, and does the set's size matter? |
| `recording.py` | what does recording take, on an agent's path and in all? |
| `learning.py` | how many episodes a second does a learner settle? |
| `distilling.py` | how near is a distillation to the least time, and how does its work grow? |
| `sharing.py` | how soon does another process see a commit? |
| `going_back.py` | does going back depend on how many versions there are? |
| `starting.py` | what does an import take? |
| `footprint.py` | how many bytes does each thing take in Redis? |
| `keyed_store.py` | what does the set take as a store of LangGraph's? |
| `tokens.py` | how many calls and tokens does the method take beside another one? |
| `desk_pages.py` | how soon does a page of the review desk come with 5,000 lessons? |
"""
