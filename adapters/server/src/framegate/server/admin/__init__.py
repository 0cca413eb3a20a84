"""The server's own administration: keys, workers, models, usage."""
