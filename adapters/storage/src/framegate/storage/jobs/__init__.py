"""Jobs in Valkey."""
