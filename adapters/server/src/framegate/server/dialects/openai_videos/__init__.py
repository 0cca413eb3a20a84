"""The dialect openai-videos."""
