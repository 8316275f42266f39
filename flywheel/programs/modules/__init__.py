"""The programs that come with flywheel: one file each, its instructions in `prompts/`.

They import DSPy, which takes a second: they are imported when one is asked for, by its name.
"""

SHIPPED = {
    "repair": "Repair",
    "rewrite": "Rewrite",
    "locate": "Locate",
    "explain": "Explain",
    "breaker": "Breaker",
    "refactor": "Refactor",
    "describe": "Describe",
}
"""Name of each program -> its class, in the module of the name."""
