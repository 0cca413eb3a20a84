"""Connect to URLs that somebody else chose."""
