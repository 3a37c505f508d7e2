"""What starts runs: jobs, schedules, and the sensors that launch what triggers ask for. A run is in assets/."""
