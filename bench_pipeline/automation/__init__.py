"""What starts runs: jobs, the schedule, and the sensor for new models. What a run does is in assets/."""
