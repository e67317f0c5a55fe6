"""Makes the file that analysts open: a whole copy of one state of the warehouse, put in place in one step.

Nobody who has the last file open is disturbed. What must hold before there is a new one is decided here, once.
"""
