"""Metrics in Prometheus' form; nothing of it is imported where they are off."""
