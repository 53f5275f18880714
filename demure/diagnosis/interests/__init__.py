"""Interests: the clusters of each modality that the model learned, with names, examples and shares of the choices."""
