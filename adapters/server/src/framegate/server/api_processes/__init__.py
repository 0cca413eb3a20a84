"""Several API processes on one port: their parent, which does what concerns the host, and each of them."""
