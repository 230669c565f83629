"""Train and test one model: trial specs, base models, the training loop and result folders.

Nothing here imports Ray.
"""
