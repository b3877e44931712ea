"""Console tokens: what they open, and where they are kept."""
