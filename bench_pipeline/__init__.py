"""Find, for every task, the fastest local model that is always correct, and put it into production safely."""
