"""Where candidates come from: mutation operators, their sites, pruning and sampling.

It reads source text and nothing else: it knows no tests, no repository, no store.
"""
