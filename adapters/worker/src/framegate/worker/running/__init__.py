"""Turn a claimed job into its result files."""
