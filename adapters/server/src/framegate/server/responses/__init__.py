"""Send files, streams and results of waiting calls."""
