"""What starts a benchmark or a delivery, and the rules of its attempts. Rows are in storage, causes in operation."""
