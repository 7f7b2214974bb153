"""From data to a trained model and its predictions."""
