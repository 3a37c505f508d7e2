"""How a model is called and asked who it is. Knows nothing of cases, verdicts or ranks."""
