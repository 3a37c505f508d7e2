"""The two writers of `conversations.actor_id`: SQLite in a transaction, PostgreSQL by its installed function."""
