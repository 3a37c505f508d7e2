"""What starts runs: jobs for people and schedules, and the sensor that notices new models."""
