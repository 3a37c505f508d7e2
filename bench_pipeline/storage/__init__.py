"""What is kept: production's tables (read, and written in one place) and our own. SQL stands here alone."""
