"""How much of a question retrieval looks at: an agent waits for it, and a prompt may be long."""

LONGEST_QUESTION = 4000  # characters


def looked_at(question: str) -> str:
    """Return a question, of a long one its beginning and its end.

    What is asked stands before a long text or after it, seldom in the middle.
    """
    if len(question) <= LONGEST_QUESTION:
        return question
    half = LONGEST_QUESTION // 2
    return f"{question[: half - 1]}\n{question[-half:]}"
