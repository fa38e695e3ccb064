"""The experience store in a process's own memory: it states what the scripts do, and is no store for users."""
