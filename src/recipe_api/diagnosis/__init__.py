"""How the service is diagnosed: checks and their results, and the commands that fix problems.

What is checked is defined where it is known: in `database/doctor.py` and in `storage/bucket/`.
"""
