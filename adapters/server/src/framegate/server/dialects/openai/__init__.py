"""What dialects that follow OpenAI's API share."""
