"""How the application's tables and columns are named, and how their names are guessed. Reading them is in storage/."""
