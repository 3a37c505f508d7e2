"""Finders: why something should run or be told. Each reads and returns findings; it writes nothing, starts nothing."""
