"""A ComfyUI to test against, real or fake, and graphs for it."""
