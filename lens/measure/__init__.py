"""What is measured, and how sure it is: log-probabilities of texts, readings of logits, intervals, tests, plans."""
