"""Chat completions that generate."""
