"""What the questions and the templates know beyond the answers: see `context` for the list."""
