"""The part of OpenAI's responses API that makes images."""
