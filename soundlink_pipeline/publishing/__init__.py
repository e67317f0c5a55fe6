"""Makes the file that analysts open: a complete copy of one state of the warehouse, put in place in one step.

Programs that have the last file open are not disturbed. What must hold before a new one stands in `gate.py`, and only
there.
"""
