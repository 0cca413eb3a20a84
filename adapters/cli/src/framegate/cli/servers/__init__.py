"""The servers that commands talk to: that of this machine's config, or a remote one."""
