"""How many requests keys and addresses may send."""
