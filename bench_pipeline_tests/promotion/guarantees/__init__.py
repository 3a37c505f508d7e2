"""One module for each guarantee of `docs/reference/guarantees.md`, or for a few that belong together."""
