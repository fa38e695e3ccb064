"""Which experiences fit a question."""
