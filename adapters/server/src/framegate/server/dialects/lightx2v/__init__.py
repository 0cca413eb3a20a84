"""The dialect lightx2v."""
