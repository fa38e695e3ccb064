"""Other ways to learn from the same samples with the same models, to compare the method with.

Each is a small one of our own wording, after the published description. Prompts are shorter than
the originals'.
"""
