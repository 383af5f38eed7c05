"""The packaged evaluations: what each asks, how an answer is judged, what the answers add up to.

Nothing here imports the evaluation stack: `audit/inspect_eval.py` makes these into its tasks.
"""

__all__: list[str] = []
