"""What attacks on a server are made of, and what is measured while they run."""
