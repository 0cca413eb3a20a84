"""Turn exceptions into responses."""
