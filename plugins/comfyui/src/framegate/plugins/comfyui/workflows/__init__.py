"""Read workflow files: what their nodes' titles bind, and what they can make."""
