"""The options: their definitions, the values read from files and flags, and what follows."""
