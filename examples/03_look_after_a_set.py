"""Look after a set: take proposals, approve one, purge a source, export a copy.

With the blocking methods, for programs without an event loop. The command line has the same:
`ted-memory --help`.
"""

from ted_memory import Merge, open_memory_sync
from ted_memory.integrations.store import TedMemoryStore

with open_memory_sync(namespace="support") as memory:
    memory.rollback(0)  # so that this example may be run again

    # any LangGraph code may write lessons; until somebody approves them no agent sees one
    store = TedMemoryStore(memory.memory)
    store.put(
        ("support",),
        "refund",
        {"text": "Ask for the order number first.", "when": "a refund is asked for"},
    )
    store.put(
        ("support",), "angry", {"text": "Say that you are sorry.", "when": "a customer is angry"}
    )
    print("found:", [item.key for item in store.search(("support",), query="the order number")])
    assert memory.render() == ""

    memory.approve("refund", "angry", author="anna")
    before = memory.load().version
    print(memory.render())

    # a merge keeps what it was made from: purging one source of it brings the rest back
    source = f"run:{before}"
    merge = Merge(
        ids=("refund", "angry"), text="Say sorry, ask for the order number.", sources=(source,)
    )
    memory.commit([merge], author="compactor")
    report = memory.purge(source)
    print(f"purged: {len(report.removed)} gone, {sorted(report.restored)} are back")
    assert memory.diff(before) == (), "all is as it was before the merge"

    copy = memory.export()
    lessons = len(copy.splitlines()) - 1
    print(f"a copy of {lessons} lessons, with its checksum, for another installation")
