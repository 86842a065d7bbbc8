"""What is learned here: one folder a task, each with its configuration, its network and its `fit`."""
