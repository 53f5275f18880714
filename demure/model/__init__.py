"""The mixture of contrastive experts and its denoiser: one module per idea.

Shape suffixes: B users of a batch, T positions of a history, I items, D latent dimensions, C themes, N candidates of a
softmax, M modalities. A matrix ``x_BTT`` runs from the source position (middle) to the target position (last).
"""
