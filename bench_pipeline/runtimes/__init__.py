"""Runtimes: how a model is identified, loaded and called. Cases, verdicts and ranks are in domain and benchmark."""
