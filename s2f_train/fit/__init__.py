"""What is trained, one module each, and the loop in which it is."""
