"""The benchmark runs; what it measures in so short a time says nothing."""
