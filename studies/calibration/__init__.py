"""How often is trimtab right? A corpus of healthy and of planted-sick trainings, judged, counted and written up.

    python -m studies.calibration train        train what has not been trained yet, into data/runs
    python -m studies.calibration judge        pack it, judge it, print the tables
    python -m studies.calibration thresholds   the threshold that the calibration half would choose, per rule
    python -m studies.calibration report       docs/calibration.md and its figures

Every command takes --quick (some 40 runs, in a folder of its own). README.md says how it is built.
"""
