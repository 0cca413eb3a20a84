"""Download the models of a hub into the cache that they are loaded from."""
