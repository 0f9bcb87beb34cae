"""What is held against what was written down: installation, published folders, evaluators."""
