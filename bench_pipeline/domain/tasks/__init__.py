"""What is asked and what is right: suites, prompts, gold labels, and how a reply is read and judged."""
