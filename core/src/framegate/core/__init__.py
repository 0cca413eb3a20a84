"""Framegate's contracts and rules: what a backend plugin or a dialect is written against."""
