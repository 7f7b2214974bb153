"""From data to a trained model and its predictions.

Yours: data.py, metrics.py, model.py, predictor.py. `make update` maintains the other modules here.
"""
