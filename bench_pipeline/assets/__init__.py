"""What people see in Dagster: one module per stage. Assets are thin; the work is in benchmark/ and promotion/."""
