"""From a source and its options to a pipeline that is ready to run."""
