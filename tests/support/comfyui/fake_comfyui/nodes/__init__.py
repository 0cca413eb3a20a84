"""The node classes that the tests' workflows consist of; importing a module declares its nodes."""
