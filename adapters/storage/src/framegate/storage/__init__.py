"""Keep jobs in Valkey, and their files in a folder or a bucket."""
