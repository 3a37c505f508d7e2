"""The sample world: a small production database with its workflow, and the main job run on it."""
