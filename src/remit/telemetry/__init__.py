"""What is told of calls and of the books to people's monitoring."""
