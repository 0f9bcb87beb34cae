"""Two measured tables side by side: `pairing` puts cells together, `verdict` judges them."""
