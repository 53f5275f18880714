"""`demure tune`: the search for a recipe's numbers, by validation alone."""
