"""The child process that serves one model file: `python server.py FILE SLOTS`, started by serve.py.

It ends when its standard input does, so it never outlives the process that started it, however that
one dies.
"""

import os
import sys
import threading

CONTEXT_TOKENS = 8192  # shared by all slots
THREADS = 2


def end_with_parent() -> None:
    """End this process when the parent closes the pipe, as the system does when it dies."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def run(path: str, slots: int) -> None:
    """Load the model, say where it is served, serve until the parent is gone."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        import xllamacpp
    except ImportError:
        sys.exit(
            f"xllamacpp is missing: {sys.executable} -m pip install xllamacpp, "
            "or use models of your own"
        )
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx, params.n_parallel, params.kv_unified = CONTEXT_TOKENS, slots, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.hostnames, params.port, params.ui = ["127.0.0.1"], 0, False
    # prompts that left their slot: the samples that are worked on take turns
    params.cache_ram_mib = 512
    # a prompt that shares less takes a slot of its own: pairs of answers take turns
    params.slot_prompt_similarity = 0.5
    params.verbosity = 1  # errors
    server = xllamacpp.Server(params)
    print(f"\nserving at {server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
