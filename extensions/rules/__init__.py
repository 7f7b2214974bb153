"""The rules behind the recommendations, one file a subject; `advice.Advice` hands them out."""
