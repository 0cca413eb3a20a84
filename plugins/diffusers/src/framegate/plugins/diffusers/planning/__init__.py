"""What models need of a device's memory, and how they are placed. Nothing here imports torch."""
