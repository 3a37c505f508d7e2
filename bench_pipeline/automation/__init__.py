"""What starts by itself: jobs for people and schedules, and the sensor that sees a new model."""
