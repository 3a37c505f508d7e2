"""Models: actors and candidates, addresses, identities, decoding options and replies.

Calling a model is in `runtimes`, what its replies are worth in `tasks` and `measuring`.
"""
