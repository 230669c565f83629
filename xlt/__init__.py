"""xlt measures how well language models carry a task from one language to another."""
