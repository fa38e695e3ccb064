"""Is an answer right? Graders, what an answer concludes, and a model as a judge."""
