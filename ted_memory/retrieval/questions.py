"""How much of a question is looked at on an agent's path, by whatever way lessons are found."""

LONGEST_QUESTION = 4000  # characters


def looked_at(question: str) -> str:
    """Return a question, or the beginning and the end of a long one: what is asked stands before a text or after it."""
    if len(question) <= LONGEST_QUESTION:
        return question
    half = LONGEST_QUESTION // 2
    return f"{question[: half - 1]}\n{question[-half:]}"
