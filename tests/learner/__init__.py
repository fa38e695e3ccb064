"""Online learning: the learner and what it works on."""
