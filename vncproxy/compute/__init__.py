"""Who has which console: one small interface, and the drivers behind it."""
