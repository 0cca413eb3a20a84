"""The commands that need neither server nor worker."""
