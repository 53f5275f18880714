"""The model: a mixture of contrastive experts that infers the causes of interactions, and the recommender around it.

Shape suffixes: B users of a batch, T positions of a history, I items of the catalogue, D latent dimensions, E = D + 1,
C clusters, P time periods (0: all time), N candidates of a softmax, M modalities, R rivals of content, K = R + M
causes. A matrix ``x_BTT`` runs from the source position (middle) to the target position (last).
"""
