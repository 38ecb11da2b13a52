"""The frozen record of a program: its rows, its printed form, and what makes it sound."""
