"""Pictures, videos and sound: fetched from URLs, checked, decoded, encoded, joined."""
