"""What Wan2.1 and Wan2.2 share."""
