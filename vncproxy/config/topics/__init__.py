"""The options, a topic a module: definitions and values side by side."""
