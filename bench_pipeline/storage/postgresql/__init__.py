"""What is installed in PostgreSQL: the function that promotes, and the two roles under which the pipeline works."""
