"""Run jobs from the queue on one device."""
