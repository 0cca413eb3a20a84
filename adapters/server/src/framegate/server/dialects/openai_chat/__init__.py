"""The dialect openai-chat."""
