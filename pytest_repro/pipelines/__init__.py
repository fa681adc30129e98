"""Builds the pipelines that model tests run: from the Hub, a folder or a seed."""
