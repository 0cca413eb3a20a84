"""Tells the receivers that requests and the config name when a video has ended."""
