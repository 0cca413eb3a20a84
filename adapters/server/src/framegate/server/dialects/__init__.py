"""The API dialects that come with the server."""
