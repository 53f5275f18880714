"""The recipes that ship with demure."""
