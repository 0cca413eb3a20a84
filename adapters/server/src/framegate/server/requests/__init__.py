"""Read requests into a dialect's own types."""
