"""What is taken where nothing is said; imports nothing, so that a command line is there at once."""

#: Arms that are run where none are named.
ARMS = ("gradient_ascent", "gradient_difference", "npo")
#: TOFU's layout: what a question is asked in.
QUESTION = "Question: {question}\nAnswer:"
#: Tokens that OpenUnlearning has a model write in answer to a question.
ROUGE = 200
