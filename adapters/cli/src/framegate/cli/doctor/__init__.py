"""What ``framegate doctor`` looks at."""
