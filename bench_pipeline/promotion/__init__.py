"""The way into production and back: plan, apply, validate, roll back. The only writer of production's tables."""
