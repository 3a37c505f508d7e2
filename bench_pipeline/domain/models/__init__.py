"""Who may be measured: actors, models, their identities, and how one is addressed and asked."""
