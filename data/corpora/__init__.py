"""The corpora of unlabelled documents that miniatures are pre-trained on."""
