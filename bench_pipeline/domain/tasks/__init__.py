"""Tasks: suites, prompts, gold labels, and how a reply is read and judged. Scores and ranks are in `measuring`."""
