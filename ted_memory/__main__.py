"""``python -m ted_memory`` is ``ted-memory``."""

from ted_memory.cli import main

main()
