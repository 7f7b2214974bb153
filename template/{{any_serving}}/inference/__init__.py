"""The service: a trained model behind HTTP. It knows the model only through its predictor.

`make update` maintains this folder.
"""
