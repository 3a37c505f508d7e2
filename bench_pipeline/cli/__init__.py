"""The `bench` command line: parses arguments, calls the layers below, prints text or JSON. Decides nothing itself."""
