"""What is a guard worth? Trainings with one planted fault, and healthy ones, under each policy and without.

    python -m studies.guards train    train what has not been trained yet; goes on where it was stopped
    python -m studies.guards report   docs/guards.md: its tables and its figure

Both take --quick (some 40 runs, in a folder of its own). README.md says how it is built.
"""
