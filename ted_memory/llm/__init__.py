"""Calling language models: messages, calls under a budget, structured answers, what they cost."""
