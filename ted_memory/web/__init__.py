"""The review desk: pages on which people see and decide what the memory knows.

| file | question |
|---|---|
| `app.py` | which address is which page, and what is shown when something fails? |
| `access.py`, `guard.py` | who may see and do what, and which requests are turned away? |
| `desk.py` | what does every page need? |
| `forms.py` | what did a person send, and is it sent twice? |
| `decisions.py` | approve, edit, reject: what is committed, and what if somebody was quicker? |
| `pages/` | a file a page |
| `pictures.py` | what is drawn, as SVG |

Pages are rendered on the server and work without JavaScript; none of them loads anything from
elsewhere. It needs the extra ``web``.
"""
