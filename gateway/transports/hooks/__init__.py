"""What providers tell of the messages that they took: believed by their own schemes, read into our words."""
