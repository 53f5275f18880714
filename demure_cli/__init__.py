"""The command line of demure: each command parses its options, calls one library function, and prints the result."""
