# SPDX-License-Identifier: MIT
"""What tools/bench is made of.

cases.py measures one thing once; rows.py says which rows there are and what
each is held against; turns.py measures the cases in turn, round by round;
figures.py makes the rows' figures of it; report.py and compare.py print them.
"""
