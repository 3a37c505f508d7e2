"""The rules of the job as plain values and functions: no Dagster, no SQL, no HTTP, no clock."""
