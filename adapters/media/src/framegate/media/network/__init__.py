"""Connect to URLs that a client chose."""
