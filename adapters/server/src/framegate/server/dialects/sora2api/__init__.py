"""The dialect sora2api."""
