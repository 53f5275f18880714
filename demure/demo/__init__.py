"""Generated data whose causes of interactions are recorded: a catalogue of books, and planted sets; and the demo."""
