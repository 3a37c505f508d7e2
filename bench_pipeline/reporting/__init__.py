"""Documents for people: reports, workflow documents, the champion registry. Measures and decides nothing."""
