"""The dialect wan21-submit."""
