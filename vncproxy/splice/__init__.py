"""Moving bytes between a browser and a console, both ways, until one side ends."""
