"""The frozen record of a program: its rows, its printed form, and the check that it is valid."""
