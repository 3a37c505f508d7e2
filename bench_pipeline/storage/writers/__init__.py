"""The two writers of `conversations.actor_id`. What is written beside production is in the modules above."""
