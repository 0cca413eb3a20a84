"""Image models: whatever diffusers' AutoPipeline can run, from a folder or hub id that the config names."""
