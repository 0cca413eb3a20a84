"""Notify receivers that a video has ended."""
