"""Where jobs and files are kept."""
