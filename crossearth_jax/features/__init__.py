"""What a trained model sees: its features as pictures, scatter plots and numbers."""
