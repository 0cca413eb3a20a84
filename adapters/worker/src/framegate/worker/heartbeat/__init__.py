"""Keep the lease of the running job."""
