"""The dialect framegate: the server's own API."""
