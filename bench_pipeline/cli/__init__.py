"""The `bench` command: reads words, calls the floors below, prints for people or as JSON."""
