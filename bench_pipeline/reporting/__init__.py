"""What people read afterwards: reports, workflow documents, the champion registry. Measures and decides nothing."""
